"""What the files say, as facts that rules can ask: statements, tables, routines, policies, privileges."""
