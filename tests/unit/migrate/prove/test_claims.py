"""From claims to a verdict: what was not looked at is never a pass, and what the user left out counts for nothing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import asyncpg
import pytest

from toolkit.errors import EnvironmentError_, ExitCode
from toolkit.migrate.folder.files import Folder, read_folder
from toolkit.migrate.prove import run
from toolkit.migrate.prove.report import claims_as_dicts, of_proof, standing
from toolkit.migrate.prove.run import Proved, prove
from toolkit.migrate.prove.subject.claims import (
    MOST_VIOLATIONS,
    Claim,
    Level,
    Outcome,
    Proof,
    ProveOptions,
    Subject,
    not_checked,
)
from toolkit.report.frame import Frame
from toolkit.report.record import Report, Verdict

FRAME = Frame("migrate prove", datetime(2026, 1, 1, tzinfo=UTC), "scratch", "1")


def claim(level: Level = Level.PROVED, *violations: str, by_request: bool = False) -> Claim:
    return Claim("x-1", "replay", "It applies", level, "each of 3", violations, "Mend it.", "1", by_request)


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    (tmp_path / "1_a.sql").write_text("select 1")
    folder: Folder = read_folder(tmp_path)
    states = SimpleNamespace(
        forget=_nothing,
        lack_at=_nothing,
        note_stand_ins=_nothing,
        note_catalogs=lambda: None,
        notes=["1: t took 3 of 5 rows"],
    )
    return Subject(folder, ("1",), cast(Any, states), ProveOptions())


async def _nothing(*_: object) -> None:
    """There are no scratch databases here."""


def reported(subject: Subject, *claims: Claim) -> Report:
    outcomes = [Outcome(()) for _ in run.PROOFS]
    outcomes[0] = Outcome(claims)
    found = [Proved(proof, "1", outcome, 1.0) for proof, outcome in zip(run.PROOFS, outcomes, strict=True)]
    return of_proof(FRAME, subject, found)


@pytest.mark.parametrize(
    ("claims", "verdict", "word", "counts"),
    [
        ((claim(),), Verdict.PASS, "proved", "1 proved"),
        ((claim(), claim(Level.SAMPLED)), Verdict.PASS, "sampled", "1 proved, 1 sampled"),
        ((claim(), claim(Level.NOT_CHECKED)), Verdict.UNKNOWN, "not checked", "1 proved, 1 not checked"),
        ((claim(), claim(Level.SAMPLED, "a row is gone")), Verdict.FAIL, "REFUTED", "REFUTED: 1 of 2"),
        ((claim(Level.NOT_CHECKED, "seen all the same"),), Verdict.FAIL, "REFUTED", "REFUTED: 1 of 1"),
        ((claim(), claim(Level.NOT_CHECKED, by_request=True)), Verdict.PASS, "proved", "1 proved"),
        ((claim(Level.NOT_CHECKED, by_request=True),), Verdict.UNKNOWN, "left out", "left out"),
    ],
)
def test_the_worst_claim_decides(subject, claims, verdict, word, counts):
    report = reported(subject, *claims)
    assert report.verdict is verdict
    assert standing(claims) == word
    assert report.tables[0].rows[0][1] == counts


def test_a_refuted_claim_shows_what_refutes_it_and_the_way_out(subject):
    (check,) = reported(subject, claim(Level.PROVED, "row 7 is gone", "row 8 too")).checks
    assert check.witness == ("row 7 is gone", "row 8 too")
    assert check.remedy == "Mend it."
    assert reported(subject, claim()).checks[0].remedy == ""


def test_what_was_seeded_short_is_told(subject):
    assert "1: t took 3 of 5 rows" in reported(subject, claim()).notes


def test_the_report_says_which_bytes_were_proved(subject):
    table = next(table for table in reported(subject, claim()).tables if table.title.startswith("Files"))
    assert table.rows == (("1_a", subject.migration("1").up.sha256, "none", "none"),)


def proofs(monkeypatch: pytest.MonkeyPatch, look: Any) -> None:
    monkeypatch.setattr(run, "PROOFS", (Proof("replay", "It applies", look), Proof("data", "Rows stay", holds)))


async def test_a_proof_that_measures_runs_when_no_other_does(monkeypatch, subject):
    running, beside = set(), []

    def proof(name: str) -> Proof:
        async def look(_: Subject, __: str) -> Outcome:
            running.add(name)
            for _ in range(3):
                await asyncio.sleep(0)
                beside.append(frozenset(running))
            running.remove(name)
            return Outcome((claim(),))

        return Proof(name, "It applies", look)

    measuring = proof("locks")
    monkeypatch.setattr(run, "PROOFS", (proof("replay"), measuring, proof("data"), proof("crash")))
    monkeypatch.setattr(run, "MEASURING", (measuring,))
    found = await prove(subject, side_by_side=2)
    assert [one.proof.name for one in found] == ["replay", "locks", "data", "crash"], "in their order"
    assert {len(names) for names in beside if "locks" in names} == {1}
    assert {len(names) for names in beside} == {1, 2}


async def holds(subject: Subject, version: str) -> Outcome:
    return Outcome((claim(),))


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (EnvironmentError_("No room.", "Make some."), "No room. Make some."),
        (asyncpg.UndefinedTableError("no such table"), "UndefinedTableError: no such table"),
        (OSError("pipe"), "OSError: pipe"),
    ],
)
async def test_a_proof_that_breaks_off_is_not_checked_and_hides_no_other(monkeypatch, subject, error, told):
    async def breaks(_: Subject, __: str) -> Outcome:
        raise error

    proofs(monkeypatch, breaks)
    first, second = await prove(subject)
    assert [(c.level, c.basis) for c in first.outcome.claims] == [(Level.NOT_CHECKED, told)]
    assert second.outcome.claims == (claim(),)


async def test_a_proof_that_hangs_ends_at_its_deadline(monkeypatch, subject):
    async def hangs(_: Subject, __: str) -> Outcome:
        await asyncio.Event().wait()
        raise AssertionError

    proofs(monkeypatch, hangs)
    first, _ = await prove(subject, deadline_s=0.01)
    assert first.outcome.claims[0].level is Level.NOT_CHECKED
    assert "no result within" in first.outcome.claims[0].basis


async def test_a_proof_without_a_claim_proved_nothing(monkeypatch, subject):
    async def silent(_: Subject, __: str) -> Outcome:
        return Outcome(())

    proofs(monkeypatch, silent)
    first, _ = await prove(subject)
    assert first.outcome.claims[0].verdict is Verdict.UNKNOWN


async def test_a_proof_that_says_why_there_is_nothing_to_claim_counts_for_nothing(monkeypatch, subject):
    async def nothing_there(_: Subject, __: str) -> Outcome:
        return Outcome((), notes=("no table is published",))

    proofs(monkeypatch, nothing_there)
    first, _ = await prove(subject)
    (only,) = first.outcome.claims
    assert (only.by_request, only.basis) == (True, "no table is published")


@pytest.mark.parametrize(("wanted", "unwanted"), [(("data",), ()), ((), ("replay",))])
async def test_what_is_left_out_on_request_is_listed_and_not_run(monkeypatch, subject, wanted, unwanted):
    async def forbidden(_: Subject, __: str) -> Outcome:
        raise AssertionError("must not run")

    proofs(monkeypatch, forbidden)
    first, second = await prove(subject, wanted, unwanted)
    assert first.outcome.claims[0].by_request
    assert second.outcome.claims == (claim(),)
    assert [told["id"] for told in claims_as_dicts([first, second])] == ["replay-1", "x-1"]


def test_not_checked_is_unknown_for_the_exit_code(subject):
    assert not_checked(Proof("crash", "Crashes", holds), "1", "no rollback").verdict is Verdict.UNKNOWN
    assert reported(subject, claim(Level.NOT_CHECKED)).exit_code is ExitCode.UNKNOWN


def test_a_claim_is_named_after_its_proof_version_and_part_and_holds_until_something_refutes_it() -> None:
    proof = run.PROOFS[0]
    whole, part = (
        Claim.of(proof, "7", part, "It holds", Level.PROVED, "each of 3", (), "Mend it.") for part in ("", "a")
    )
    assert (whole.id, part.id, part.proof, part.version) == ("replay-7", "replay-7-a", "replay", "7")
    assert (part.verdict, part.remedy) == (Verdict.PASS, "")
    refuted = part.refuted_by([f"row {number}" for number in range(MOST_VIOLATIONS + 2)], "Mend it.")
    assert (refuted.verdict, refuted.remedy, refuted.violations[-1]) == (Verdict.FAIL, "Mend it.", "… and 2 more")
    assert refuted.as_check().witness == refuted.violations
    assert part.refuted_by([], "Mend it.") == part
