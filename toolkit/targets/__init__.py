"""The system that a command works on: one of our own, embedded, or one that is given by its addresses."""
