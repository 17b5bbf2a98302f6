"""The Realtime protocol without I/O: frames and the clock in, frames and effects out."""
