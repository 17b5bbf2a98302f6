"""The full dress rehearsal: a legacy system taken through the whole migration, and back, under traffic.

`populate` — the legacy rows. `traffic` — who works on the system meanwhile. `rows`, `stalls` — what is proved and
measured. `phases` — one module a phase. `order` — which phase follows which, and what each needs. `run` — all of it.
"""
