"""The data proof: rows that were there survive."""
