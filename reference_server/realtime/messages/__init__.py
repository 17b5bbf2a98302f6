"""Rows of `realtime.messages`: streamed to those who have joined, replayed to those who ask, kept for a while."""
