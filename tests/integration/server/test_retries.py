"""Retries are counted since the last progress: a long step is given up for failing on one spot, not for its length."""

from __future__ import annotations

from collections import Counter

from reference_server.generation.content import Outline, ResearchReport, Section
from reference_server.generation.deterministic_writer import DeterministicWriter
from reference_server.generation.writer import Assignment, WriterError
from reference_server.workers.loop import ServiceSettings
from tests.support.generation import bench
from tests.support.logs import check_log
from toolkit.contract.statuses import Status

SECTIONS = 5
ONE_RETRY = ServiceSettings(lease_seconds=3, retry_base_seconds=0, max_retries=1)


class Stumbling(DeterministicWriter):
    """Fails `falls` times at each section before it writes it."""

    def __init__(self, falls: int) -> None:
        super().__init__(7, sections=SECTIONS)
        self._falls = falls
        self.calls: Counter[int] = Counter()

    async def write_section(
        self, job: Assignment, outline: Outline, index: int, report: ResearchReport | None, written: tuple[Section, ...]
    ) -> Section:
        self.calls[index] += 1
        if self.calls[index] <= self._falls:
            raise WriterError(f"stumbled at section {index}", retryable=True)
        return await super().write_section(job, outline, index, report, written)


async def test_one_failure_at_every_part_is_survived_with_one_retry(emptied_db: str) -> None:
    async with bench(emptied_db, ONE_RETRY) as b:
        writer = Stumbling(1)
        b.worker(writer)
        process_id = await b.start(auto_mode=True)
        view = await b.until(process_id, lambda view: view.status in (Status.COMPLETED, Status.ERROR))
        assert view.status is Status.COMPLETED, view.error_message
        assert writer.calls == dict.fromkeys(range(SECTIONS), 2)
        events = await b.events(process_id)
        check_log(events)
        retries = [e.event_data["retry_count"] for e in events if e.event_type == "task_retry_scheduled"]
        assert retries == [1] * SECTIONS


async def test_failing_twice_on_one_spot_is_one_time_too_many(emptied_db: str) -> None:
    """Taking the step up again announces its section again; that alone is no progress."""
    async with bench(emptied_db, ONE_RETRY) as b:
        writer = Stumbling(2)
        b.worker(writer)
        process_id = await b.start(auto_mode=True)
        view = await b.until(process_id, lambda view: view.status in (Status.COMPLETED, Status.ERROR))
        assert (view.status, view.error_message) == (Status.ERROR, "stumbled at section 0")
        assert writer.calls == {0: 2}
