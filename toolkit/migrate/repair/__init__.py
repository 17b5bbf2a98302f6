"""Folder and history that have come apart: how they belong together, and how to mend that."""
