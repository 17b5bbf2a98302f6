"""Who works on the system while it is migrated: people who generate articles, a reader, another application.

`reader` — HTTP requests. `writer` — rows that another application updates. `user_generation` — whole generations.
`traffic` — all of them, started and stopped together. `stalls` — how long each of them was held up.
"""
