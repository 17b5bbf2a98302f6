"""The proofs: a package or a module each, `subject` below all of them, `run` and `report` above."""
