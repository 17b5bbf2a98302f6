"""Attacks on a running server, with a bystander beside each: `make redteam`, and a short form in the suite."""
