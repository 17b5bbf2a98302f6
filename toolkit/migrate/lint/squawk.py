"""squawk as a subprocess: statement rules over the texts of files.

It runs on copies with names of our own in an empty folder, so that neither a name with wildcards nor a configuration
file beside the migrations changes what it looks at. A text that no parser accepts goes with them: a run that does not
complain of that one has looked at nothing, whatever it says.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from toolkit.errors import EnvironmentError_
from toolkit.migrate.lint.reading.findings import At, LintFinding, Severity
from toolkit.migrate.lint.reading.sources import Source
from toolkit.migrate.lint.squawk_rules import ASKED, PREFIX, grade_of

DEADLINE_S = 120.0
_CANARY, _CANARY_TEXT = "canary.sql", "this is (no SQL"
_INSTALL = "Install it into the environment that runs the toolkit: `pip install squawk-cli==2.70.0`."
_NO_HELP = "Follow squawkhq.com/docs/{rule}, or suppress it with the reason why it is right here."


@dataclass(frozen=True)
class _Batch:
    """Files that are looked at in one run. `numbered` are their names there and the files they are copies of."""

    numbered: dict[str, Source]
    transactional: bool


def binary() -> Path:
    """Where the wheel put the program: beside the interpreter, or where its record says.

    Raises EnvironmentError_ when it is in neither place.
    """
    name = "squawk.exe" if sys.platform == "win32" else "squawk"
    beside = Path(sys.executable).parent / name
    if beside.is_file():
        return beside
    with contextlib.suppress(metadata.PackageNotFoundError):
        for file in metadata.distribution("squawk-cli").files or ():
            recorded = Path(str(file.locate()))
            if file.name == name and recorded.is_file():
                return recorded
    raise EnvironmentError_("squawk is not installed, so the statement rules cannot be checked.", _INSTALL)


async def findings(
    sources: Sequence[Source], *, program: Path | None = None, deadline_s: float = DEADLINE_S
) -> tuple[LintFinding, ...]:
    """What squawk finds in these files, graded by our own severities; rules that are off are left out.

    Raises EnvironmentError_ when it is absent, does not end in `deadline_s` seconds, crashes, or answers something
    that is not its report.
    """
    program = program or binary()
    found: list[LintFinding] = []
    for transactional in (True, False):
        chosen = [source for source in sources if source.transactional is transactional]
        if chosen:
            batch = _Batch({f"{n:06}.sql": source for n, source in enumerate(chosen)}, transactional)
            for entry in await _run(program, batch, deadline_s):
                found += _graded(entry, batch)
    return tuple(found)


async def _run(program: Path, batch: _Batch, deadline_s: float) -> list[dict[str, Any]]:
    options = ["--reporter", "json", "--config", "squawk.toml", *(f"--include={rule}" for rule in ASKED)]
    options += ["--assume-in-transaction"] if batch.transactional else []
    try:
        with tempfile.TemporaryDirectory(prefix="toolkit-lint-") as folder:
            await asyncio.to_thread(_lay_out, Path(folder), batch)
            code, out, err = await _output([str(program), *options, _CANARY, *batch.numbered], folder, deadline_s)
    except OSError as error:
        raise EnvironmentError_(
            f"There is no room for the copies that squawk reads: {error.strerror or error}.",
            "Make room in the folder for temporary files, or name another one in TMPDIR.",
        ) from error
    if code not in {0, 1}:
        what = f"was ended by signal {-code}" if code < 0 else f"failed with exit code {code}"
        raise _unusable(f"squawk {what}: {_last_line(err)}")
    try:
        report = json.loads(out)
        entries = [dict(entry) for entry in report]
        seen = {str(entry["file"]) for entry in entries if str(entry["rule_name"]) and int(entry["line"]) >= 0}
    except (ValueError, TypeError, KeyError) as error:
        raise _unusable(f"squawk's answer is not its report: {_last_line(err) or _last_line(out)}") from error
    if _CANARY not in seen:
        raise _unusable("squawk found nothing wrong with a text that is no SQL, so it did not look")
    return [entry for entry in entries if entry["file"] != _CANARY]


def _lay_out(folder: Path, batch: _Batch) -> None:
    (folder / "squawk.toml").write_text("")
    (folder / _CANARY).write_text(_CANARY_TEXT)
    for name, source in batch.numbered.items():
        (folder / name).write_text(source.text, encoding="utf-8")


async def _output(command: list[str], folder: str, deadline_s: float) -> tuple[int, bytes, bytes]:
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise _unusable(f"{command[0]} cannot be started: {error.strerror or error}") from error
    try:
        async with asyncio.timeout(deadline_s):
            out, err = await process.communicate()
    except TimeoutError as error:
        raise _unusable(f"squawk did not end within {deadline_s:g} s") from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            with contextlib.suppress(TimeoutError):  # killed; only the machine can keep it any longer
                async with asyncio.timeout(10):
                    await process.wait()
    assert process.returncode is not None
    return process.returncode, out, err


def _graded(entry: dict[str, Any], batch: _Batch) -> list[LintFinding]:
    source, name = batch.numbered[str(entry["file"])], str(entry["rule_name"])
    grade = grade_of(name)
    severity = grade.rollback if source.rollback else grade.up
    if severity is Severity.OFF:
        return []
    remedy = str(entry.get("help") or "") or _NO_HELP.format(rule=name)
    at = At(source.file, int(entry["line"]) + 1)
    return [LintFinding(f"{PREFIX}{name}", severity, at, str(entry.get("message") or name), _why(grade.reason), remedy)]


def _why(reason: str) -> str:
    return f"{reason[0].upper()}{reason[1:]}."


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else "it said nothing"


def _unusable(what: str) -> EnvironmentError_:
    return EnvironmentError_(f"{what}.", f"The rules it checks stay unchecked. {_INSTALL}")
