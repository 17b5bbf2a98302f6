"""Every SQL statement of the server, by the tables it works on."""
