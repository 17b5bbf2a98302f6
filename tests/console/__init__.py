"""The browser's side: the package with the guide's hooks, held to the Python client, and the console in a browser."""
