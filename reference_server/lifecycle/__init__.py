"""Parts that run beside the API in its process, started and stopped with it."""
