"""`toolkit signoff`: the ten success criteria, judged from what is saved."""

from __future__ import annotations

from pathlib import Path

import click

from toolkit.commands._output import conclude, shown, write_file
from toolkit.report import as_html, as_json
from toolkit.report.links import seen_from
from toolkit.signoff.evidence import MAX_AGE_DAYS, REPORT_FILE
from toolkit.signoff.judge import Request, sign_off

DEFAULT_RUNS = Path("reports")


@click.command("signoff")
@click.argument("run", default="latest")
@click.option("--signed-off-by", metavar="NAME", default=None, help="Who signs; without it the report says nobody did.")
@click.option(
    "--max-age-days",
    type=click.FloatRange(min=0, min_open=True),
    default=MAX_AGE_DAYS,
    show_default=True,
    help="Older evidence passes nothing.",
)
@click.option(
    "--html", "html", type=click.Path(dir_okay=False, path_type=Path), default=None, help="Also write a page."
)
@click.option("--json", "as_json_", is_flag=True, help="Print the report as JSON.")
def command(run: str, signed_off_by: str | None, max_age_days: float, html: Path | None, as_json_: bool) -> None:
    """Judge the guide's ten success criteria by saved reports; nothing is run.

    RUN is the folder of a rehearsal (or its report.json), a folder of runs, or `latest`: the newest rehearsal in
    reports/ with the scenario runs after it. Evidence that is missing, old, or of another version of the toolkit makes
    a criterion unknown.
    """
    place = DEFAULT_RUNS if run == "latest" else Path(run)
    if place.name == REPORT_FILE and place.is_file():
        place = place.parent
    report = sign_off(Request(place, signed_off_by, max_age_days))
    if html is not None:
        write_file(html, as_html.render(seen_from(report, html.parent)))
    text = as_json.render(report) if as_json_ else shown(report)
    conclude(text, report.exit_code)
