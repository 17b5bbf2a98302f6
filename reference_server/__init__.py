"""The server that the toolkit examines: articles generated step by step, and events that no client misses."""
