"""The history of a run: JSON lines, appended as things happen, judged later.

One line a record. `kind` says what it is:

    invoke  a request is about to be sent         `call` joins it with its outcome
    ok      it was accepted (2xx)
    fail    it certainly had no effect (4xx, connection refused)
    info    nobody knows whether it had one (cut off, timed out, 5xx)
    frame   a raw live frame reached a subscription
    deliver the application was given an event     `via` live | backfill | socket
    db      what the database held at the end      `op` event | state | article | task
    fault   a fault began, was confirmed or healed `value.phase`
    note    everything else: processes, watches, expectations

`t_ns` is monotonic and comparable within one run only; `wall` is UTC.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal, get_args

import orjson

from toolkit.errors import UsageError
from toolkit.report.redact import redact, redact_value

Kind = Literal["invoke", "ok", "fail", "info", "frame", "deliver", "db", "fault", "note"]
KINDS: frozenset[str] = frozenset(get_args(Kind))


@dataclass(frozen=True)
class Record:
    """One line. `process` is a process id; `actor` who did or saw it (`user:alice`, `watch:article`)."""

    i: int
    t_ns: int
    wall: str
    actor: str
    kind: Kind
    op: str = ""
    process: str | None = None
    seq: int | None = None
    event_id: str | None = None
    via: str | None = None
    value: Any = None
    error: str | None = None
    call: int | None = None

    @property
    def t(self) -> float:
        """Seconds on the run's monotonic clock."""
        return self.t_ns / 1e9


class History:
    """The records of a run; each is appended to the file and flushed at once.

    Without a `path` it is kept in memory only. `at_once` False: records wait, secrets included, until `write_out`,
    `records` or `close` takes the secrets out and writes them. Whoever measures records in this way, since redacting
    and writing cost many times what remembering does.
    """

    def __init__(self, path: Path | None = None, *, at_once: bool = True) -> None:
        self.path = path
        self._at_once = at_once
        self._written = 0
        self._records: list[Record] = []
        self._file: IO[bytes] | None = path.open("wb") if path is not None else None
        self._calls = 0

    def add(
        self,
        kind: Kind,
        actor: str,
        op: str = "",
        *,
        process: str | None = None,
        seq: int | None = None,
        event_id: str | None = None,
        via: str | None = None,
        value: Any = None,
        error: str | None = None,
        call: int | None = None,
        t_ns: int | None = None,
    ) -> Record:
        """Append one record; secrets are taken out of `value` and `error` before anything is written or read.

        `t_ns` (`time.monotonic_ns()`): when it happened, if that was earlier than now.
        """
        now_ns = time.monotonic_ns()
        at = now_ns if t_ns is None else t_ns
        wall = datetime.fromtimestamp((time.time_ns() - (now_ns - at)) / 1e9, UTC)
        record = Record(
            len(self._records),
            at,
            wall.isoformat(timespec="microseconds"),
            actor,
            kind,
            op,
            process,
            seq,
            event_id,
            via,
            value,
            error,
            call,
        )
        self._records.append(record)
        if self._at_once:
            self.write_out()
            return self._records[-1]
        return record

    @property
    def waiting(self) -> int:
        """How many records wait to be written."""
        return len(self._records) - self._written

    def write_out(self, most: int | None = None) -> None:
        """Take the secrets out of the records that wait, at most `most` of them, and append them to the file."""
        end = len(self._records) if most is None else min(len(self._records), self._written + most)
        for place in range(self._written, end):
            record = self._records[place]
            error = None if record.error is None else redact(record.error)
            record = replace(record, value=redact_value(record.value), error=error)
            self._records[place] = record
            if self._file is not None:
                self._file.write(_line(record))
        self._written = end
        if self._file is not None:
            self._file.flush()

    def next_call(self) -> int:
        """A number that joins an invocation with its outcome."""
        self._calls += 1
        return self._calls

    @property
    def records(self) -> tuple[Record, ...]:
        """All records so far, in order."""
        self.write_out()
        return tuple(self._records)

    def close(self) -> None:
        """Close the file; the records stay readable."""
        self.write_out()
        if self._file is not None:
            self._file.close()
            self._file = None

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)


def dump(records: Iterable[Record]) -> bytes:
    """The file form of `records`."""
    return b"".join(_line(record) for record in records)


def load(path: Path) -> tuple[Record, ...]:
    """Read a history file. Raises UsageError naming the line that is not a record.

    An incomplete last line is dropped: the run was killed while writing it.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}.", "Give the folder of a run, which holds history.jsonl."
        ) from error
    lines = content.split(b"\n")
    lines.pop()
    return tuple(_parse(line, path, number) for number, line in enumerate(lines, start=1))


def _parse(line: bytes, path: Path, number: int) -> Record:
    try:
        fields = orjson.loads(line)
        record = Record(**fields)
        if record.kind not in KINDS or not isinstance(record.t_ns, int):
            raise ValueError(f"no such kind of record: {record.kind!r}")
    except (orjson.JSONDecodeError, TypeError, ValueError) as error:
        raise UsageError(
            f"{path}:{number}: not a history record ({error}).", "Give a history that this toolkit wrote, unedited."
        ) from error
    return record


def _line(record: Record) -> bytes:
    fields = {key: value for key, value in vars(record).items() if value is not None and value != ""}
    fields.setdefault("actor", record.actor)
    return orjson.dumps(fields, default=str, option=orjson.OPT_NON_STR_KEYS) + b"\n"
