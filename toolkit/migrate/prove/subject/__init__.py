"""What every proof uses: the subject, its scratch databases, one attempt at a version, and the claims."""
