"""Apply, verify and roll back SQL migrations, with the Supabase CLI's history and proofs of what happened.

`migrate_up`, `migrate_down`, `migrate_plan`, `migrate_status`, `migrate_verify`, `snapshot` are what others call.
"""

from toolkit.migrate.run.api import Status, migrate_down, migrate_plan, migrate_status, migrate_up, snapshot
from toolkit.migrate.run.execute import Options, Progress, RunResult, StepResult
from toolkit.migrate.run.plan import MigrationRefused
from toolkit.migrate.verify.run import VerifyResult, migrate_verify

__all__ = [
    "MigrationRefused",
    "Options",
    "Progress",
    "RunResult",
    "Status",
    "StepResult",
    "VerifyResult",
    "migrate_down",
    "migrate_plan",
    "migrate_status",
    "migrate_up",
    "migrate_verify",
    "snapshot",
]
