"""What a team migrates and verifies with: the command line, and the libraries behind it."""
