"""Who works on the system while it is migrated: people who generate articles, a reader, another application.

`reader` — HTTP requests. `writer` — rows that another application updates. `user_generation` — whole generations.
`legacy_traffic` — all of them, started and stopped together. `latencies` — how long each of them had to wait.
"""
