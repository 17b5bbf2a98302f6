"""A Realtime endpoint as Supabase's: the protocol, the sockets that speak it, and the changes that they deliver."""
