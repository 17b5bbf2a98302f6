"""Reading a folder of migrations for mistakes, without a database: squawk's rules under our own severities, and those
it lacks for Supabase and Realtime. `docs/reference/lint.md` describes it."""

from toolkit.migrate.lint.reading.findings import Finding, Severity
from toolkit.migrate.lint.run import Linted, lint

__all__ = ["Finding", "Linted", "Severity", "lint"]
