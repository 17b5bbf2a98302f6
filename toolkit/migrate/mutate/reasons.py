"""`mutants.yaml` beside the migrations: which mutants nobody notices there, why that cannot be otherwise, and who sees
them. Pure but for reading it."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from toolkit.errors import UsageError
from toolkit.migrate.mutate.mutant import Mutant
from toolkit.migrate.mutate.outcome import Fate, Outcome

FILE = "mutants.yaml"
_REMEDY = "Each entry has `mutants` (ids, or patterns such as lock:claim_task:*), `reason` and `seen_by`."


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Reason(BaseModel):
    """Why nobody notices the mutants whose ids these patterns match, and what sees them instead."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    mutants: Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)]
    reason: Annotated[str, Field(min_length=1)]
    seen_by: Annotated[str, Field(min_length=1)]

    def covers(self, mutant: Mutant) -> bool:
        """Whether a pattern matches its id."""
        return any(fnmatch.fnmatchcase(mutant.id, pattern) for pattern in self.mutants)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    reasons: list[Reason] = []


@dataclass(frozen=True)
class Stale:
    """A pattern that excuses nothing: every mutant that it matches was noticed, or there is none."""

    pattern: str
    why: str


def read_reasons(file: Path) -> tuple[Reason, ...]:
    """The reasons of a file; none where there is no file. Raises UsageError."""
    if not file.is_file():
        return ()
    try:
        read = yaml.safe_load(file.read_text()) or {}
        return tuple(_File.model_validate(read).reasons)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{file} cannot be read: {error}", _REMEDY) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{file}: {where or 'the file'}: {first['msg']}", _REMEDY) from error


def reason_of(mutant: Mutant, reasons: Iterable[Reason]) -> Reason | None:
    """The first reason that covers it."""
    return next((one for one in reasons if one.covers(mutant)), None)


def stale(reasons: Iterable[Reason], derived: Iterable[Mutant], outcomes: Mapping[str, Outcome]) -> tuple[Stale, ...]:
    """Patterns whose mutants were all judged and none of them survived, and patterns that match nothing."""
    mutants = tuple(derived)
    found = []
    for pattern in dict.fromkeys(pattern for one in reasons for pattern in one.mutants):
        matched = [one for one in mutants if fnmatch.fnmatchcase(one.id, pattern)]
        if not matched:
            found.append(Stale(pattern, "no mutant is called so"))
        elif all(one.id in outcomes for one in matched) and not any(
            outcomes[one.id].fate in {Fate.SURVIVED, Fate.UNDECIDED, Fate.HUNG} for one in matched
        ):
            found.append(Stale(pattern, "all of them are noticed"))
    return tuple(found)
