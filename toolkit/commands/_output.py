"""Files that a command is asked to write beside what it prints."""

from __future__ import annotations

from pathlib import Path

from toolkit.errors import UsageError


def make_writable(path: Path | None) -> None:
    """Make the file, empty, where it does not exist. Raises UsageError, so that a long run does not end in one."""
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.open("a").close()
        except OSError as error:
            raise _refusal(path, error) from error


def write_file(path: Path, text: str) -> None:
    """Write `text`, making the folder. Raises UsageError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as error:
        raise _refusal(path, error) from error


def _refusal(path: Path, error: OSError) -> UsageError:
    return UsageError(f"{path} cannot be written: {error.strerror or error}.", "Give another file.")
