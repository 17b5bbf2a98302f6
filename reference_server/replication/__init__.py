"""The write-ahead log, streamed and decoded."""
