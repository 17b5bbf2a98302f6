"""Observes a running system: the doctor's facts and the monitor's figures.

`questions` — read-only questions to the database. `database_facts`, `api_facts`, `realtime_facts` — what the
doctor's checks judge; `doctor` — all of it as a report. `probe` — a process of our own and subscriptions to it.
`figures`, `thresholds`, `sample` — what the monitor shows.
"""
