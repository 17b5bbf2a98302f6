"""A scenario file: YAML read into typed steps, conditions and faults."""
