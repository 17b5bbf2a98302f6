"""Apply, verify and roll back SQL migrations, with the Supabase CLI's history and proofs of what happened.

Others read a folder once, with `read_folder`, and hand what they got to `migrate_up`, `migrate_down`, `migrate_plan`,
`migrate_status` and `migrate_verify`, so that all of them speak of the same bytes; `snapshot` needs no folder.
"""

from toolkit.migrate.folder.files import Folder, read_folder
from toolkit.migrate.run.api import Status, migrate_down, migrate_plan, migrate_status, migrate_up, snapshot
from toolkit.migrate.run.plan import MigrationRefused
from toolkit.migrate.run.run_model import Options, Progress, RunResult, StepResult
from toolkit.migrate.verify.run import VerifyResult, migrate_verify

__all__ = [
    "Folder",
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
    "read_folder",
    "snapshot",
]
