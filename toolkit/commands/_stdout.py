"""A standard output whose reader (head, less) went away; in the base, so that the command line needs no extra."""

from __future__ import annotations

import contextlib
import os
import sys


def forget_stdout() -> None:
    """Nobody reads any more: what is still buffered must not fail at the very end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
