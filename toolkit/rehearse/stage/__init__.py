"""What every phase works on: the system, its legacy rows, what was read before the migration, and the diary."""
