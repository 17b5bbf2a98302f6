"""The command line: each command reads its options, calls a library, and shows the report. Only here is click."""
