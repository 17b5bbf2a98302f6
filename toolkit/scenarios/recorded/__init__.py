"""What a run wrote down, and the facts that judges read from it."""
