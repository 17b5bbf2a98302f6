"""One module a phase: each takes the stage as the phase before left it, and writes down what it finds."""
