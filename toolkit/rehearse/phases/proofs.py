"""The two comparisons that every phase uses: old rows are unchanged, the catalog is unchanged."""

from __future__ import annotations

from toolkit.migrate.catalog import Snapshot, diff
from toolkit.postgres.connection import connected
from toolkit.rehearse.stage.diary import Findings
from toolkit.rehearse.stage.rows import Rows, changes, read_rows
from toolkit.rehearse.stage.stage import Stage
from toolkit.report.record import Verdict

REALTIMES_OWN = "publication supabase_realtime_messages_publication"


async def compare_rows(stage: Stage, found: Findings, id: str, title: str, before: Rows) -> None:
    """Check that every row and column of `before` is still there with the same value."""
    async with connected(stage.dsn, "toolkit rehearse") as conn:
        now = await read_rows(conn)
    different = changes(before, now)
    digest, later = before.digest(), now.like(before, keys=True).digest()
    found.check(
        id,
        title,
        not different and digest == later,
        f"{before.count} rows of {len(before.tables)} tables are as they were ({before.values} values, digest "
        f"{digest[:12]})"
        if not different
        else f"{len(different)} differences in {before.count} rows",
        "The witness names table, column and row; nothing but the migration may have touched them.",
        [*(str(change) for change in different), *([f"digest was {digest}, is {later}"] if digest != later else [])],
    )
    found.measure(f"{id}: values compared", before.values, "")


def compare_catalog(found: Findings, id: str, title: str, before: Snapshot, after: Snapshot) -> None:
    """Check that both snapshots hold the same facts, but for what the Realtime service makes for itself when it first
    starts, which no rollback file may undo."""
    different = [one for one in diff(before, after) if not one.key.startswith(REALTIMES_OWN)]
    found.check(
        id,
        title,
        Verdict.UNKNOWN if not before.facts else not different,
        f"{len(before.facts)} facts of the catalog compared, {len(different)} differ",
        "The rollback file must undo what the witness names.",
        [str(difference) for difference in different],
    )
    found.measure(f"{id}: facts compared", len(before.facts), "")
