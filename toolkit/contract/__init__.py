"""The generation system's specification: pure, standard library only.

`steps` — what is done, in which order, how far along each step is.
`statuses` — the statuses a process can have and the one transition table.
`prompts` — the four questions put to the user and what answers they take.
`events` — every event type, its category and the data it must carry.
`requests` — the values a start request may hold.
`tasks` — the background tasks and their priorities.

The server asks these tables what it may do; the judges read recorded histories against the same
tables; an integration test compares them with the database's constraints.
"""
