"""The crash proof: interrupted anywhere, nothing is left half done."""
