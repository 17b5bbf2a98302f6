"""What a triage finds: what is out of step, on what evidence, and what would mend it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Action = Literal[
    "move_row",
    "rename_file",
    "renumber_file",
    "squash_rows",
    "mark_applied",
    "mark_reverted",
    "write_file",
    "record_checksum",
]
Prefer = Literal["files", "history"]


@dataclass(frozen=True, order=True)
class Named:
    """A table, view, function or type by its name as a statement writes it; `kind` is how to look it up."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{'table or view' if self.kind == 'relation' else self.kind} {self.name}"


@dataclass(frozen=True)
class Proposal:
    """One way to mend one disagreement. `row` and `file` are versions; `changes` say exactly what becomes different.

    `rewrites`: the row's statements become the file's. `removed` are rows of which the one that stays takes the place.
    `source` is a file's name where another has its version, and `becomes` its version afterwards.
    """

    action: Action
    row: str | None
    file: str | None
    changes: tuple[str, ...]
    rewrites: bool = False
    removed: tuple[str, ...] = ()
    source: str = ""
    becomes: str = ""


@dataclass(frozen=True)
class Disagreement:
    """Something out of step. Without a proposal `remedy` says what a person has to find out."""

    id: str
    what: str
    evidence: tuple[str, ...]
    proposal: Proposal | None = None
    remedy: str = ""


@dataclass(frozen=True)
class Triage:
    """What was found. `in_step` are versions whose row and file agree, `pending` files that simply have not run,
    `unknown` remarks on what could not be decided."""

    disagreements: tuple[Disagreement, ...]
    in_step: tuple[str, ...]
    pending: tuple[str, ...]
    unknown: tuple[str, ...] = ()

    @property
    def proposals(self) -> tuple[Proposal, ...]:
        """Everything that --apply would do."""
        return tuple(one.proposal for one in self.disagreements if one.proposal is not None)
