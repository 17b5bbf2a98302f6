"""From the write-ahead log to subscribers: which change concerns whom, and who may see it."""
