"""What an application imports: commands over HTTP, and the stream of a process's events without a gap."""
