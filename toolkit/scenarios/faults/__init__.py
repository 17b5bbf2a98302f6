"""What is broken on purpose: `proxy` (the network), `control` (server processes and the database), `schedule`."""
