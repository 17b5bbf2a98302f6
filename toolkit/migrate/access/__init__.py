"""Who may do what: roles and claims, what they should reach, and what they do reach when they try."""
