"""One module for each phase: it takes the stage as the phase before left it, and records its findings."""
