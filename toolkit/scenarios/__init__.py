"""Scenarios: what is done to a system, what was seen, and what is judged from it.

`model` — YAML to a typed scenario. `run` and `actions` — do it and record a history.
`history` — the record. `facts` — the record, indexed. `judges` — pure functions over the facts.
"""
