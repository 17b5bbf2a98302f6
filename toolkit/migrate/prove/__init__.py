"""The proofs: a room or a module each, `subject` beneath all of them, `run` and `report` above."""
