"""What each command and each step of a generation does, and who writes the content."""
