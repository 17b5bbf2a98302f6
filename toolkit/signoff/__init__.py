"""The sign-off: the ten success criteria of the migration guide, judged from saved reports alone.

`criteria` — the ten, as pure functions. `evidence` — saved reports, read and weighed.
"""
