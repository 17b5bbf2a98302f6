"""One embedded system for the scenario tests of a test process."""

from collections.abc import AsyncIterator

import pytest

from toolkit.postgres.throwaway import throwaway_folder
from toolkit.scenarios.faults.control import EmbeddedSystem, embedded_system


@pytest.fixture(scope="session")
async def system() -> AsyncIterator[EmbeddedSystem]:
    with throwaway_folder("rmt-scenarios-") as folder:
        async with embedded_system(folder) as started:
            yield started
