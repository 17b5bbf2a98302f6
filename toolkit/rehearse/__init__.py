"""The full dress rehearsal: a legacy system taken through the whole migration, and back, under traffic.

`run` — all of it. `order` — which phase follows which, and what each needs. `phases` — one module a phase. `stage` —
what every phase works on. `traffic` — who works on the system meanwhile, and how long they had to wait.
"""
