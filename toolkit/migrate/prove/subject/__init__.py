"""What is proved and what with: the subject, the databases it is tried on, one attempt, and what a proof may claim."""
