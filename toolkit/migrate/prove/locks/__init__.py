"""The locks proof: what is locked, for how long, and who waits for it."""
