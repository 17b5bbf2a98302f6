"""The legacy generations that this API process drives: started, watched, stopped; at most one for each process."""

from __future__ import annotations

import asyncio
from uuid import UUID

import structlog

from reference_server.api.legacy_generation import LegacyGeneration, LegacyTools
from reference_server.api.legacy_sockets import INTERNAL, NORMAL, POLICY, RESTART, ClientSocket
from reference_server.api.metrics import Metrics
from reference_server.database_trouble import DATABASE_TROUBLE
from reference_server.store.legacy import Saved, Superseded

log = structlog.get_logger(__name__)

SETTLE_DEADLINE_S = 5.0


class LegacySupervisor:
    """The legacy generations of this API process, at most one for each generation process."""

    def __init__(self, tools: LegacyTools, metrics: Metrics) -> None:
        self.tools = tools
        self._metrics = metrics
        self._generations: dict[UUID, LegacyGeneration] = {}
        self._tasks: dict[LegacyGeneration, asyncio.Task[None]] = {}

    @property
    def running(self) -> int:
        return len(self._generations)

    def running_of(self, process_id: UUID) -> LegacyGeneration | None:
        generation = self._generations.get(process_id)
        return generation if generation is not None and not generation.ended else None

    async def start(self, process_id: UUID, mark: str, saved: Saved, socket: ClientSocket) -> LegacyGeneration:
        """Run the generation of a row that carries `mark`. Raises ContextUnreadable, ValueError."""
        generation = LegacyGeneration(self.tools, process_id, mark, saved)
        await generation.attach(socket)
        self._generations[process_id] = generation
        self._tasks[generation] = asyncio.create_task(
            self._supervise(generation), name=f"legacy generation {process_id}"
        )
        return generation

    async def cancel(self, generation: LegacyGeneration) -> None:
        """End the generation for good."""
        await self._stop(generation, cancelled=True)

    async def wait(self, generation: LegacyGeneration) -> None:
        """Wait until the generation has ended, for whatever reason."""
        if (task := self._tasks.get(generation)) is not None:
            await asyncio.wait({task})

    async def stop(self) -> None:
        """Stop every generation where it is, so that it can be resumed, and close its socket with 1012."""
        await asyncio.gather(*(self._stop(generation, cancelled=False) for generation in list(self._tasks)))

    async def _supervise(self, generation: LegacyGeneration) -> None:
        structlog.contextvars.bind_contextvars(process_id=str(generation.process_id))
        outcome = "internal_error"
        beat = asyncio.create_task(generation.beat())
        drive = asyncio.create_task(generation.drive())
        try:
            await asyncio.wait({beat, drive}, return_when=asyncio.FIRST_COMPLETED)
            if not drive.done():
                beat.result()  # raises what ended it first: Superseded, or an error of the database
            await drive
            outcome = generation.outcome
            await generation.close(NORMAL, outcome)
        except Superseded:
            outcome = "superseded"
            await generation.close(POLICY, outcome)
        except asyncio.CancelledError:
            outcome = "stopped"
            raise
        except Exception:
            log.exception("legacy generation failed", process_id=str(generation.process_id), step=generation.step)
            await generation.close(INTERNAL, "internal_error")
        finally:
            for task in (beat, drive):
                task.cancel()
            await asyncio.wait({beat, drive})
            generation.ended = True
            self._metrics.legacy_generations.labels(outcome).inc()
            if self._generations.get(generation.process_id) is generation:
                del self._generations[generation.process_id]
            self._tasks.pop(generation, None)

    async def _stop(self, generation: LegacyGeneration, *, cancelled: bool) -> None:
        task = self._tasks.get(generation)
        if task is None or generation.ended:
            return
        task.cancel()
        await asyncio.wait({task})
        if not cancelled:
            await generation.close(RESTART, "restarting")
        try:
            async with asyncio.timeout(SETTLE_DEADLINE_S):
                await generation.settle(cancelled=cancelled)
        except DATABASE_TROUBLE as error:
            log.warning(
                "a legacy generation was left as it stood", process_id=str(generation.process_id), cause=repr(error)
            )
