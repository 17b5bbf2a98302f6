"""What became of a mutant, and the file in which outcomes are kept until nothing they rest on is the same. Pure but for
that file."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

import toolkit
from toolkit.migrate.folder.files import Folder
from toolkit.migrate.mutate.mutant import Mutant
from toolkit.migrate.scratch.kept import cache_folder


class Fate(StrEnum):
    """`noticed`: a judge that finds nothing wrong with the folder as it is finds something wrong with the mutant.
    `survived`: nobody does. `refused`: Postgres does not take it. `equal`: the same database comes of it as of the
    folder as it is, or of an earlier mutant. `undecided`: a judge could not decide and nobody noticed anything.
    `hung`: it was not over within its deadline."""

    NOTICED = "noticed"
    SURVIVED = "survived"
    REFUSED = "refused"
    EQUAL = "equal"
    UNDECIDED = "undecided"
    HUNG = "hung"


@dataclass(frozen=True)
class Outcome:
    """`judge` and `check` say who noticed it, `detail` why else. `seconds`: how long it took."""

    mutant: str
    fate: Fate
    judge: str = ""
    check: str = ""
    detail: str = ""
    seconds: float = 0.0


class Outcomes:
    """Outcomes of one folder, server and set of judges: found again as long as all of that is the same. A run that was
    stopped goes on where it was."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._found: dict[str, Outcome] = {}
        if file is not None:
            with contextlib.suppress(OSError):
                for line in file.read_text().splitlines():
                    with contextlib.suppress(ValueError, TypeError, KeyError):
                        read = json.loads(line)
                        key = read.pop("content")
                        self._found[key] = Outcome(**(read | {"fate": Fate(read["fate"])}))

    def get(self, mutant: Mutant) -> Outcome | None:
        """What became of a mutant whose file reads exactly so."""
        return self._found.get(_content(mutant))

    def put(self, mutant: Mutant, outcome: Outcome) -> None:
        """Keep it, at once."""
        self._found[_content(mutant)] = outcome
        if self._file is not None:
            with contextlib.suppress(OSError):  # what is not kept is found out again
                self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with self._file.open("a") as file:
                    file.write(json.dumps(asdict(outcome) | {"content": _content(mutant)}) + "\n")


def outcomes_of(folder: Folder, server: str, judges: Sequence[str], *, kept: bool) -> Outcomes:
    """Those of earlier runs that rest on the same files, server, judges and toolkit; none where `kept` is false."""
    if not kept:
        return Outcomes(None)
    whole = hashlib.sha256(_own_code().encode())
    for one in folder.migrations:
        verify = one.verify.sha256 if one.verify is not None else ""
        whole.update(f"{one.version}\0{one.up.sha256}\0{verify}\n".encode())
    whole.update("\0".join((server, *judges)).encode())
    return Outcomes(cache_folder().parent / "mutants" / f"{whole.hexdigest()[:32]}.jsonl")


def _content(mutant: Mutant) -> str:
    return hashlib.sha256(f"{mutant.version}\0{mutant.content}".encode()).hexdigest()


@cache
def _own_code() -> str:
    root = Path(toolkit.__file__).parent
    whole = hashlib.sha256()
    for path in sorted(path for path in root.rglob("*") if path.suffix in {".py", ".sql"}):
        whole.update(f"{path.relative_to(root)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()
