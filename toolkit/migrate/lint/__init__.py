"""Reading a folder of migrations for mistakes, without a database: squawk's rules under our own severities, and those
it lacks for Supabase and Realtime. `docs/reference/lint.md` describes it."""

from toolkit.migrate.lint.reading.findings import LintFinding, Severity
from toolkit.migrate.lint.run import Linted, lint

__all__ = ["LintFinding", "Linted", "Severity", "lint"]
