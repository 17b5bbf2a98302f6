"""Applying migrations and taking them back: plan, history, locks, exports, and what came of each file."""
