"""WebSockets that speak the protocol: connections, their queues, and what channels share."""
