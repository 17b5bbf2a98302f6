"""Scenarios: what is done to a system, what was seen, and what is judged from it.

`model` — YAML to a typed scenario. `run`, `actions` and `faults` — do it and record a history. `recorded` — the
history, and the facts in it. `judges` — pure functions over the facts.
"""
