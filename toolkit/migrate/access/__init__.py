"""Access: personas with their claims, what they should reach, and what they reach when they try."""
