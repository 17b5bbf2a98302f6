"""The delivery proof: no change is lost on its way to Realtime."""
