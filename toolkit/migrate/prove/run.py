"""Runs every proof of every version, side by side where nothing is measured; one that could not run becomes a claim
that is not checked."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace

import asyncpg

from toolkit.errors import ToolkitError
from toolkit.migrate.prove import replay, round_trip
from toolkit.migrate.prove.behaviour import behaviour_proof as behaviour
from toolkit.migrate.prove.crash import crash_proof as crash
from toolkit.migrate.prove.data import data_proof as data
from toolkit.migrate.prove.delivery import delivery_proof as delivery
from toolkit.migrate.prove.locks import locks_proof as locks
from toolkit.migrate.prove.security import security_proof as security
from toolkit.migrate.prove.shared_objects import shared_objects
from toolkit.migrate.prove.subject.claims import Outcome, Proof, Subject, not_checked
from toolkit.migrate.run.run_model import Progress

PROOFS: tuple[Proof, ...] = (
    replay.PROOF,
    round_trip.PROOF,
    data.PROOF,
    crash.PROOF,
    locks.PROOF,
    security.PROOF,
    behaviour.PROOF,
    delivery.PROOF,
)
MEASURING = (locks.PROOF,)
LONG = (crash.PROOF, delivery.PROOF)
DEADLINE_S = 900.0


@dataclass(frozen=True)
class Proved:
    """The outcome of one proof of one version, and how many seconds it took."""

    proof: Proof
    version: str
    outcome: Outcome
    seconds: float


async def prove(
    subject: Subject,
    wanted: Sequence[str] = (),
    unwanted: Sequence[str] = (),
    deadline_s: float = DEADLINE_S,
    side_by_side: int | None = None,
) -> tuple[Proved, ...]:
    """Run the proofs called `wanted` (all, when none is named) but not those called `unwanted`.

    `deadline_s` bounds one proof of one version. As many proofs as there are processors (or `side_by_side`) run at
    once; those that measure run by themselves, and so do all proofs of a version that changes what databases share.
    The outcomes come in the order of versions and proofs.
    """
    at_once = side_by_side or processors()
    found = []
    for number, version in enumerate(subject.versions, start=1):
        found += await _prove_version(subject, version, number, _Chosen(wanted, unwanted, deadline_s, at_once))
        await subject.states.forget(version)
    await subject.states.note_stand_ins()
    subject.states.note_catalogs()
    return tuple(found)


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class _Chosen:
    """Which proofs are made, how long each may take, and how many may run at once."""

    wanted: Sequence[str]
    unwanted: Sequence[str]
    deadline_s: float
    at_once: int

    def left_out(self, proof: Proof) -> bool:
        return proof.name in self.unwanted or (bool(self.wanted) and proof.name not in self.wanted)


async def _prove_version(subject: Subject, version: str, number: int, chosen: _Chosen) -> list[Proved]:
    migration = subject.migration(version)
    found: dict[str, Proved] = {}

    async def make(proof: Proof) -> None:
        progress = Progress("file", migration.label, f"{proof.name}: {proof.title}", number, len(subject.versions))
        subject.tell(progress)
        started = time.monotonic()
        outcome = await _attempt(proof, subject, version, chosen.deadline_s)
        found[proof.name] = Proved(proof, version, outcome, time.monotonic() - started)

    for proof in filter(chosen.left_out, PROOFS):
        left_out = not_checked(proof, version, "left out on request", by_request=True)
        found[proof.name] = Proved(proof, version, Outcome((left_out,)), 0.0)
    asked = [proof for proof in PROOFS if not chosen.left_out(proof)]
    others = [proof for proof in asked if proof not in MEASURING]
    if chosen.at_once > 1 and (why := shared_objects(migration)):
        subject.states.notes.append(f"{version}: its proofs ran one after the other, since it changes {why}.")
        for proof in others:
            await make(proof)
    else:
        # The longest first, so that no processor has nothing to do at the end.
        others.sort(key=lambda proof: proof not in LONG)
        await _side_by_side([make(proof) for proof in others], chosen.at_once)
    for proof in asked:
        if proof in MEASURING:
            await make(proof)
    return [found[proof.name] for proof in PROOFS]


async def _side_by_side(work: Sequence[Coroutine[None, None, None]], at_once: int) -> None:
    waiting = list(work)

    async def take_turns() -> None:
        while waiting:
            await waiting.pop(0)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(at_once, len(work))):
                group.create_task(take_turns())
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    finally:
        for never_run in waiting:
            never_run.close()


async def _attempt(proof: Proof, subject: Subject, version: str, deadline_s: float) -> Outcome:
    try:
        async with asyncio.timeout(deadline_s):
            if proof is not replay.PROOF and (lack := await subject.states.lack_at(version)):
                return Outcome((replace(not_checked(proof, version, lack.basis), remedy=lack.remedy),))
            outcome = await proof.run(subject, version)
    except ToolkitError as error:
        why = f"{error.what} {error.remedy}".strip()
    except TimeoutError:
        why = f"no result within {deadline_s:.0f} s"
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        why = f"{type(error).__name__}: {error}"
    else:
        if (
            not outcome.claims and outcome.notes
        ):  # it says why there is nothing to claim: listed, and counts for nothing
            nothing = not_checked(proof, version, outcome.notes[0], by_request=True)
            return replace(outcome, claims=(nothing,))
        return outcome if outcome.claims else Outcome((not_checked(proof, version, "the proof made no claim"),))
    return Outcome((not_checked(proof, version, why),))
