"""Applies migrations and rolls them back: plan, history, locks, exports, and the result of each file."""
