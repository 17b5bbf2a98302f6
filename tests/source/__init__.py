"""What the sources, the pages and the package say of themselves: where SQL may stand, which words are used, what is
imported. Nothing of the project is run but what they name."""
