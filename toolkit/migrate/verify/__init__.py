"""Whether applied migrations hold: verify files, the probes of a schema, and checks of any live database."""
