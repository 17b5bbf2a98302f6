"""The delivery proof: no change is lost between a table and Realtime."""
