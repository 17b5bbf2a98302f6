"""The history of a run, and the facts that judges read from it."""
