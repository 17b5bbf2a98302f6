"""Who works on the system while it is migrated: people who generate articles, a reader, another application.

`reader` — HTTP requests. `writer` — rows that another application updates. `users` — whole generations.
`crew` — all of them, started and stopped together.
"""
