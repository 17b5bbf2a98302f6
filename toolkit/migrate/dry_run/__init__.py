"""A run that is taken back: what each file would do, seen while it does it."""
