"""`toolkit init ci`: a workflow that looks at what a pull request does to the migrations."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from toolkit.commands._click import json_option, toolkit_command
from toolkit.commands._output import conclude, rendered
from toolkit.commands.migrate._folder import described, folder_options
from toolkit.errors import RefusalError, UsageError
from toolkit.report.frame import Frame
from toolkit.report.record import Check, Verdict, tool_version
from toolkit.resources import migrations_dir

WORKFLOW = Path(".github/workflows/migrations.yml")
_PLAIN = re.compile(r"[\w.][\w./-]*")


@toolkit_command("ci", examples=("toolkit init ci", "toolkit init ci --migrations supabase/migrations"))
@folder_options
@json_option
def ci_command(*, folder: Path, as_json: bool) -> None:
    """Write a GitHub workflow that looks at what a pull request does to the migrations.

    It lints, proves what is new, verifies and looks for drift where a secret names a database, and comments which locks
    are taken and who reaches what. A file that is there already is not written over: exit code 1.
    """
    text = workflow(folder)
    try:
        WORKFLOW.parent.mkdir(parents=True, exist_ok=True)
        with WORKFLOW.open("x") as file:
            file.write(text)
    except FileExistsError:
        raise RefusalError(
            f"{WORKFLOW} is there already.", "Move it away first, or take from docs/how-to/ci.md what it lacks."
        ) from None
    except OSError as error:
        raise UsageError(
            f"{WORKFLOW} cannot be written: {error.strerror}.", "Run it in the project's folder."
        ) from error
    check = Check(
        "init-ci",
        f"{WORKFLOW} is written",
        Verdict.PASS,
        "next: set the variable MIGRATION_TOOLKIT (where pip finds the toolkit) and, to verify and look for drift, the "
        "secret MIGRATIONS_DATABASE_URL; then commit it",
    )
    frame = Frame("init ci", datetime.now(UTC), f"migrations: {described(folder)}", tool_version())
    report = frame.report("A workflow for pull requests", Verdict.PASS, (check,))
    conclude(rendered(report, as_json), report.exit_code)


def workflow(folder: Path) -> str:
    """The workflow for a folder of the project. Raises UsageError for one that is not below the working directory."""
    if folder == migrations_dir() or not folder.resolve().is_relative_to(Path.cwd()):
        raise UsageError(
            f"{folder} is no folder of this project.", "Run it where the repository begins, with --migrations FOLDER."
        )
    name = folder.resolve().relative_to(Path.cwd()).as_posix()
    if not _PLAIN.fullmatch(name):
        raise UsageError(
            f"{name!r} has characters that a workflow would read otherwise.", "Give the folder a plain name."
        )
    return Path(__file__).with_name("workflow.yml").read_text().replace("@FOLDER@", name)
