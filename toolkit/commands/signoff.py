"""`toolkit signoff`: the ten success criteria, judged from what is saved."""

from __future__ import annotations

from pathlib import Path

import click

from toolkit.commands._click import Duration, json_option, option, toolkit_command
from toolkit.commands._options import DEFAULT_REPORTS_DIR, html_option
from toolkit.commands._output import conclude, rendered, write_file
from toolkit.report import as_html
from toolkit.report.files import REPORT_FILE
from toolkit.report.links import seen_from
from toolkit.signoff.evidence import MAX_AGE_DAYS
from toolkit.signoff.sign_off import SignOffRequest, sign_off


@toolkit_command("signoff", examples=("toolkit signoff", 'toolkit signoff latest --signed-off-by "Aiko Mori"'))
@click.argument(
    "run",
    default="latest",
    metavar="[RUN]",
    help="Judge this rehearsal's folder or report.json, or the newest in a folder of runs.",
)
@option("--signed-off-by", metavar="NAME", default=None, help="Name who signs; without it the report says nobody did.")
@option(
    "--max-age",
    type=Duration(1),
    default=MAX_AGE_DAYS * 86400.0,
    show_default=True,
    help="Let evidence that is older than this pass nothing.",
)
@option(
    "--reports-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_REPORTS_DIR,
    show_default=True,
    metavar="FOLDER",
    help="Look for the latest rehearsal in this folder.",
)
@html_option
@json_option
def command(
    *, run: str, signed_off_by: str | None, max_age: float, reports_dir: Path, html: Path | None, as_json: bool
) -> None:
    """Judge the guide's ten success criteria by saved reports; nothing is run.

    Without a RUN, the newest rehearsal is judged with the scenario and load runs after it. Evidence that is missing,
    old, or of another version of the toolkit makes a criterion unknown.
    """
    place = reports_dir if run == "latest" else Path(run)
    if place.name == REPORT_FILE and place.is_file():
        place = place.parent
    report = sign_off(SignOffRequest(place, signed_off_by, max_age / 86400))
    if html is not None:
        write_file(html, as_html.render(seen_from(report, html.parent)))
    conclude(rendered(report, as_json), report.exit_code)
