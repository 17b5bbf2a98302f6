"""The ten success criteria of the migration guide, judged from saved evidence alone.

`criteria` — the ten, as pure functions. `evidence` — saved reports, read and weighed.
"""
