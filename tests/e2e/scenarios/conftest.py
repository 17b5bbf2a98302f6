"""One embedded system for the scenario tests of a test process."""

import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from toolkit.scenarios.faults.control import EmbeddedSystem, embedded_system


@pytest.fixture(scope="session")
async def system() -> AsyncIterator[EmbeddedSystem]:
    # Not pytest's own folder: Postgres runs as another user and must be able to reach it.
    folder = Path(tempfile.mkdtemp(prefix="rmt-scenarios-"))
    try:
        async with embedded_system(folder) as started:
            yield started
    finally:
        shutil.rmtree(folder, ignore_errors=True)
