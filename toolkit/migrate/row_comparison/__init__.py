"""Were rows preserved? A dump of the schema cannot tell: drop a column, add it again, and it looks the same.

Three depths, each paid for only where it is needed: `table_digests` (a table in one number, or column by column),
`table_rows` (every value of every row, by its key) and `pictures` (the same for all tables, read so that a value
reads alike after its column's type changed).
"""
