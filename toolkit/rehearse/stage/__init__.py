"""What every phase works on: the system, its legacy rows, what was seen before the migration, and the diary."""
