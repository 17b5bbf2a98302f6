"""HTTP: routes and their schemas, who is asking, health, metrics, and the legacy WebSocket."""
