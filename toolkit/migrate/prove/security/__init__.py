"""The security proof: who reaches what, with every kind of claims."""
