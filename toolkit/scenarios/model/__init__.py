"""A scenario as its file says it: YAML read into typed steps, conditions and faults."""
