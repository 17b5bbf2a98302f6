"""The crash proof: a run that is interrupted anywhere leaves nothing half done."""
