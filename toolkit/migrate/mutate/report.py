"""The report of a run: the score, then each mutant that nobody would notice. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from toolkit.migrate.mutate.derive import Derived
from toolkit.migrate.mutate.mutant import Mutant
from toolkit.migrate.mutate.outcome import Fate, Outcome
from toolkit.migrate.mutate.reasons import FILE, Reason, reason_of, stale
from toolkit.migrate.mutate.run import Judged
from toolkit.report.frame import Frame
from toolkit.report.record import Check, Measurement, Report, Table, Verdict, counted, shortened, worst

NOTHING = "nothing you have would notice this"
_OPEN = (Fate.SURVIVED, Fate.UNDECIDED, Fate.HUNG)
_IN_FILE = "Write a check in verify/{file}: "
_WHERE = {
    "lock": "Two sessions decide, which no single transaction shows: a probe or a test with two sessions beside each "
    "other belongs here.",
    "policy": _IN_FILE + "read and write {object} as two users of whom each owns rows, and as anon.",
    "grant": _IN_FILE + "compare who holds which privilege with a list, from has_table_privilege and its kin.",
    "function": _IN_FILE + "compare prosecdef and proconfig of {object} with what they should be.",
    "trigger": _IN_FILE + "make the change that fires {object} and look at what it left; compare pg_get_triggerdef.",
    "constraint": _IN_FILE
    + "compare pg_get_constraintdef, column_default and is_nullable of {object}, or write the row "
    "that must be refused.",
    "index": _IN_FILE + "compare pg_get_indexdef of {object}.",
    "publication": _IN_FILE + "compare pg_publication and pg_publication_tables with what is to be published.",
    "view": _IN_FILE + "read {object} as a user to whom the tables below show nothing.",
}
_ELSE = _IN_FILE + "bring {object} to where this decides, and compare what it leaves."


@dataclass(frozen=True)
class Score:
    """How many mutants count, and how many of them were noticed."""

    noticed: int
    counted: int

    @property
    def percent(self) -> float:
        """100 where nothing counts."""
        return 100.0 * self.noticed / self.counted if self.counted else 100.0

    def __str__(self) -> str:
        return f"{self.noticed} of {self.counted} ({self.percent:.1f} %)"


def score(outcomes: Sequence[Outcome]) -> Score:
    """What Postgres refuses and what changes nothing does not count."""
    counting = [one for one in outcomes if one.fate in {Fate.NOTICED, *_OPEN}]
    return Score(sum(one.fate is Fate.NOTICED for one in counting), len(counting))


def of_mutants(
    frame: Frame,
    derived: Derived,
    chosen: Sequence[Mutant],
    judged: Judged,
    reasons: Sequence[Reason],
    *,
    min_score: float | None = None,
) -> Report:
    """`chosen` are those that were to be judged. Without `min_score` every survivor without a reason is a failure."""
    seen = [mutant for mutant in chosen if mutant.id in judged.outcomes]
    by_id = {mutant.id: mutant for mutant in seen}
    outcomes = [judged.outcomes[mutant.id] for mutant in seen]
    reached = score(outcomes)
    lived = [(by_id[one.mutant], one) for one in outcomes if one.fate in _OPEN]
    excused = [(mutant, reason) for mutant, _ in lived if (reason := reason_of(mutant, reasons)) is not None]
    left = [(mutant, one) for mutant, one in lived if reason_of(mutant, reasons) is None]
    with_reasons = Score(reached.noticed + len(excused), reached.counted)
    checks = [_baseline(judged)]
    if not judged.trouble:
        checks.append(_score(reached, with_reasons, min_score, [one for _, one in left]))
        checks += [_survivor(mutant, one, failing=min_score is None) for mutant, one in left]
        if len(seen) < len(chosen):
            told = f"{len(chosen) - len(seen)} of {counted(len(chosen), 'mutant')} were not judged within the budget"
            checks.append(
                Check("MUTATE-3", "Every chosen mutant was judged", Verdict.UNKNOWN, told, "Run it again: it goes on.")
            )
        if old := stale(reasons, derived.mutants, judged.outcomes):
            lines = tuple(f"{one.pattern}: {one.why}" for one in old)
            title = f"Every reason in {FILE} is still needed"
            checks.append(Check.of_lines("MUTATE-4", title, lines, remedy=f"Take it out of {FILE}."))
    title = f"{reached} of the mutants that count were noticed"
    report = frame.report(title, worst(check.verdict for check in checks), tuple(checks))
    return replace(
        report,
        tables=(
            _by("Score by kind", "kind", lambda mutant: mutant.kind, by_id, outcomes),
            _by("Score by object", "object", lambda mutant: mutant.object, by_id, outcomes),
            _by_judge(outcomes),
            *((_excused(excused),) if excused else ()),
        ),
        measurements=(
            Measurement("score", round(reached.percent, 1), "%"),
            Measurement("score with the reasons", round(with_reasons.percent, 1), "%"),
        ),
        notes=_notes(derived, chosen, judged, outcomes),
    )


def _baseline(judged: Judged) -> Check:
    title = "The folder applies as it is, and the judges find nothing wrong with it"
    if judged.trouble:
        return Check("MUTATE-1", title, Verdict.UNKNOWN, judged.trouble, "Mend that first: nothing could be compared.")
    already = [f"{name}: {one}" for name, ruling in judged.baseline.items() for one in ruling.failed]
    if already:
        told = "they can notice nothing where they fail already"
        return Check(
            "MUTATE-1", title, Verdict.UNKNOWN, told, "Mend what they find, then run it again.", "", shortened(already)
        )
    return Check("MUTATE-1", title, Verdict.PASS, ", ".join(judged.baseline))


def _score(reached: Score, with_reasons: Score, min_score: float | None, left: Sequence[Outcome]) -> Check:
    detail = f"noticed {reached}; with the reasons of {FILE} {with_reasons}"
    if min_score is None:
        title = "Every mutant that counts is noticed, or has a reason"
        lived = any(one.fate is Fate.SURVIVED for one in left)
        verdict = Verdict.FAIL if lived else Verdict.UNKNOWN if left else Verdict.PASS
        return Check("MUTATE-2", title, verdict, detail)
    title = f"At least {min_score:g} % of the mutants that count are noticed, or have a reason"
    return Check("MUTATE-2", title, Verdict.PASS if with_reasons.percent >= min_score else Verdict.FAIL, detail)


def _survivor(mutant: Mutant, outcome: Outcome, *, failing: bool) -> Check:
    before, after = mutant.excerpt()
    told = {
        Fate.SURVIVED: NOTHING,
        Fate.UNDECIDED: f"nobody could decide: {outcome.detail}",
        Fate.HUNG: f"it hangs: {outcome.detail}",
    }[outcome.fate]
    where = _WHERE.get(mutant.kind, _ELSE)
    return Check(
        mutant.id,
        f"{mutant.title}: {told}",
        (Verdict.FAIL if outcome.fate is Fate.SURVIVED else Verdict.UNKNOWN) if failing else Verdict.PASS,
        f"{mutant.file}:{mutant.line} {mutant.object}: {mutant.told}",
        where.format(file=mutant.file, object=mutant.object),
        f"survivors: {mutant.kind}",
        (f"- {before}", f"+ {after}"),
    )


def _by(
    title: str,
    column: str,
    key: Callable[[Mutant], str],
    by_id: dict[str, Mutant],
    outcomes: Sequence[Outcome],
) -> Table:
    gathered: dict[str, list[Outcome]] = {}
    for one in outcomes:
        gathered.setdefault(key(by_id[one.mutant]), []).append(one)
    rows = []
    for name, found in sorted(gathered.items(), key=lambda item: score(item[1]).percent):
        fates = Counter(one.fate for one in found)
        reached = score(found)
        rows.append(
            (
                name,
                str(reached.counted),
                str(reached.noticed),
                str(sum(fates[fate] for fate in _OPEN)),
                f"{reached.percent:.0f} %" if reached.counted else "–",
                str(fates[Fate.EQUAL]),
                str(fates[Fate.REFUSED]),
            )
        )
    return Table(title, (column, "count", "noticed", "lived", "score", "no difference", "refused"), tuple(rows))


def _by_judge(outcomes: Sequence[Outcome]) -> Table:
    by = Counter((one.judge, one.check) for one in outcomes if one.fate is Fate.NOTICED)
    rows = tuple((judge, check, str(number)) for (judge, check), number in by.most_common())
    return Table("Who noticed them first", ("judge", "check", "mutants"), rows)


def _excused(excused: Sequence[tuple[Mutant, Reason]]) -> Table:
    rows = tuple((mutant.id, reason.reason, reason.seen_by) for mutant, reason in excused)
    return Table(f"Not noticed, with a reason in {FILE}", ("mutant", "reason", "seen by"), rows)


def _notes(derived: Derived, chosen: Sequence[Mutant], judged: Judged, outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    fates = Counter(one.fate for one in outcomes)
    notes = [
        f"{counted(len(derived.mutants), 'mutant')} derived; {derived.doubles} equal to another and "
        f"{derived.impossible} of no valid text were left out.",
        f"Of {len(outcomes)} judged, Postgres refused {fates[Fate.REFUSED]} and {fates[Fate.EQUAL]} made no difference "
        "to the database: neither counts.",
    ]
    if len(chosen) < len(derived.mutants):
        notes.append(f"Chosen to be judged: {len(chosen)}.")
    if judged.from_before:
        notes.append(f"{judged.from_before} outcomes are kept ones of the same files, judges, server and toolkit.")
    notes += [f"Not mutated: {one}." for one in shortened(derived.unread, 10)]
    return tuple(notes)
