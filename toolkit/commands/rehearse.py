"""`toolkit rehearse`: the whole migration on a system of our own, proved."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click

from toolkit.commands._click import json_option, option, toolkit_command
from toolkit.commands._options import html_option, name_it_in_ci, reports_dir_option
from toolkit.commands._output import conclude, make_writable, rendered, write_file
from toolkit.commands._run import run_async
from toolkit.errors import UsageError
from toolkit.report import as_html
from toolkit.report.links import seen_from
from toolkit.resources import migrations_dir

DEFAULT_DATA = Path(".toolkit") / "rehearsal"
LEAST_PROCESSES = 16


@toolkit_command("rehearse", examples=("toolkit rehearse --quick", 'toolkit rehearse --signed-off-by "Aiko Mori"'))
@option("--quick", is_flag=True, help="Make less traffic and fewer runs; every phase and every proof all the same.")
@option(
    "--processes",
    type=click.IntRange(min=LEAST_PROCESSES),
    default=300,
    show_default=True,
    metavar="N",
    help="Put this many legacy processes into the database before the migration.",
)
@option(
    "--migrations",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    metavar="FOLDER",
    help="Rehearse with this folder, in which the toolkit's migrations stand, alone or among a project's own.",
)
@option(
    "--seed",
    type=int,
    default=4711,
    show_default=True,
    metavar="N",
    help="Make up rows and articles from this number; the same number makes the same ones.",
)
@option("--signed-off-by", metavar="NAME", default=None, help="Name who signs the report.")
@option(
    "--data",
    "data_dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_DATA,
    show_default=True,
    metavar="FOLDER",
    help="Make the system in this folder, which is emptied at the beginning.",
)
@option("--keep", is_flag=True, help="Keep the database afterwards, to look at it with `toolkit up --data FOLDER`.")
@option(
    "--target",
    type=click.Choice(["embedded", "external"]),
    default=None,
    show_default="embedded; where CI is set, none",
    help="Rehearse on a system of our own making; any other is refused.",
)
@reports_dir_option
@html_option
@json_option
def command(  # noqa: PLR0917 - click passes them by name
    target: str | None,
    data_dir: Path,
    processes: int,
    signed_off_by: str | None,
    quick: bool,
    keep: bool,
    seed: int,
    reports_dir: Path,
    migrations: Path | None,
    html: Path | None,
    as_json: bool,
) -> None:
    """Take a legacy system of our own through the whole migration and back, and prove it.

    \b
    1. A legacy database and server with people at work on it
    2. Plan, apply under traffic, verify; what was there is unchanged
    3. Realtime on; the four scenarios; again with a cut network and a killed worker
    4. Back by the flag, back by the database, and the migration once more
    5. The guide's ten success criteria, each with its evidence

    The report goes to stdout, and with histories, logs and exports to a folder of its own. Exit codes: 0 every check
    and criterion passed (7, performance, is not measured here and does not count), 1 something failed, 3 something
    could not be determined, 4 this machine could not run it.
    """
    name_it_in_ci(target)
    if target == "external":
        raise UsageError(
            "A rehearsal migrates, kills, rolls back and migrates again: it runs on a system of its own only.",
            "Rehearse with --target embedded; then use `toolkit migrate` on the real one.",
        )
    from toolkit.rehearse.run import rehearse
    from toolkit.rehearse.stage.diary import QUICK, Options, Size
    from toolkit.rehearse.stage.progress import progress_on

    make_writable(html)
    run_dir = _new_folder(reports_dir)
    size = replace(QUICK if quick else Size(), processes=processes)
    options = Options(data_dir, run_dir, size, migrations or migrations_dir(), seed, signed_off_by, keep)
    report, code = run_async(rehearse(options, progress_on(sys.stderr)))
    if html is not None:
        write_file(html, as_html.render(seen_from(report, html.parent, run_dir)))
    click.echo(f"Report: {run_dir / 'report.html'}", err=True)
    conclude(rendered(report, as_json), code)


def _new_folder(base: Path) -> Path:
    """A name that no other run in `base` has."""
    name = f"rehearse-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    names = (name, *(f"{name}-{number}" for number in range(2, 100)))
    return next(base / candidate for candidate in names if not (base / candidate).exists())
