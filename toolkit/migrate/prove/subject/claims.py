"""The claims of a proof: each proved, sampled or not checked, with the violations that refute it. Pure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from toolkit.migrate.folder.files import Folder, Migration
from toolkit.migrate.prove.subject.states import States
from toolkit.migrate.run.run_model import OnProgress
from toolkit.migrate.verify.probe import Probes
from toolkit.report.record import Check, Measurement, Table, Timeline, Verdict, shortened

NO_ROLLBACK = "there is no rollback file"  # the basis of what was not checked for that
_WRITE_ONE = (
    "Write rollbacks/{version}_….sql, or ask for what needs none: `--only replay --only security --only behaviour`."
)
MOST_VIOLATIONS = 40  # of one claim: an object that differs takes several lines of a dump


class Level(StrEnum):
    """How many cases were checked. `proved`: every case; `sampled`: those that `Claim.basis` names; `not_checked`:
    none, for the reason in `Claim.basis`."""

    PROVED = "proved"
    SAMPLED = "sampled"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True)
class Claim:
    """One statement of a proof about one version.

    `id` is stable and unique within a report (`crash-20250727000000-up`). `violations` are what refutes it, a line
    each, the plainest first; none: it holds as far as `level` goes. `basis` says what the level rests on ("each of 83
    statements", "12 of 83 statements", "there is no rollback file"). `by_request` marks a claim that the user chose
    to leave out: it is listed, and counts for nothing.
    """

    id: str
    proof: str
    title: str
    level: Level
    basis: str
    violations: tuple[str, ...] = ()
    remedy: str = ""
    version: str = ""
    by_request: bool = False

    @classmethod
    def of(  # noqa: PLR0917 - the order of the record
        cls,
        proof: Proof,
        version: str,
        part: str,
        title: str,
        level: Level,
        basis: str,
        violations: Iterable[str] = (),
        remedy: str = "",
        *,
        most: int = MOST_VIOLATIONS,
    ) -> Claim:
        """What `proof` says of one `part` of a version ("": of the version as a whole); `most` violations are kept."""
        id_ = "-".join(filter(None, (proof.name, version, part)))
        unasked = _WRITE_ONE.format(version=version) if basis == NO_ROLLBACK else ""
        claim = cls(id_, proof.name, title, level, basis, remedy=unasked, version=version)
        return claim.refuted_by(violations, remedy, most=most)

    def refuted_by(self, violations: Iterable[str], remedy: str, *, most: int = MOST_VIOLATIONS) -> Claim:
        """The same claim with what refutes it and what to do about that; without violations it stands."""
        lines = shortened(violations, most)
        return replace(self, violations=lines, remedy=remedy) if lines else self

    @property
    def verdict(self) -> Verdict:
        """Refuted is a fail whatever the level; not checked is unknown."""
        if self.violations:
            return Verdict.FAIL
        return Verdict.UNKNOWN if self.level is Level.NOT_CHECKED else Verdict.PASS

    def as_check(self) -> Check:
        """The claim as a report shows it, under the heading of its proof."""
        return Check(
            self.id,
            self.title,
            self.verdict,
            f"{self.level}: {self.basis}",
            self.remedy if self.verdict is not Verdict.PASS else "",
            self.proof,
            self.violations,
        )


@dataclass(frozen=True)
class Outcome:
    """The result of one proof of one version: its claims, and what is shown beside them."""

    claims: tuple[Claim, ...]
    tables: tuple[Table, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    timelines: tuple[Timeline, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProveOptions:
    """How thorough to be.

    `rows_each`: rows seeded into each table. `crash_points`: at most this many points a file at which the backend is
    terminated (0: every one). `stall_budget_ms`: the longest that a reader or writer may be held up. `traffic_s`: for
    how long the synthetic traffic runs before and after the migration. `expectations`: what roles may do, kept by the
    user. `endpoint`: also read the probe rows back through a Realtime endpoint, where one can be started. `probes`
    belong to the schema that is proved: they run beside the verify files.
    """

    rows_each: int = 20
    crash_points: int = 12
    stall_budget_ms: float = 500.0
    traffic_s: float = 0.5
    expectations: Path | None = None
    endpoint: bool = True
    probes: Probes = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """What is proved: a folder's `versions`, in order, on the scratch databases of `states`."""

    folder: Folder
    versions: tuple[str, ...]
    states: States
    options: ProveOptions
    tell: OnProgress = field(default=lambda _: None)

    def migration(self, version: str) -> Migration:
        """The files of a version that is proved."""
        found = self.folder.get(version)
        assert found is not None, version
        return found


@dataclass(frozen=True)
class Proof:
    """One of the eight. `run` looks at one version; `Subject.states` builds what it needs, or raises CannotBuild,
    which the caller turns into claims that are not checked."""

    name: str
    title: str
    run: Callable[[Subject, str], Awaitable[Outcome]]


def not_checked(proof: Proof, version: str, why: str, *, by_request: bool = False) -> Claim:
    """The claim that stands for a proof which could not, or should not, look at a version."""
    return replace(Claim.of(proof, version, "", proof.title, Level.NOT_CHECKED, why), by_request=by_request)
