"""Access tokens: what they say, and whether they are genuine."""
