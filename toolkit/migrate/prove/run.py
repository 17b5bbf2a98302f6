"""Runs every proof of every version, one after the other; one that could not run becomes a claim that is not
checked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
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
DEADLINE_S = 900.0


@dataclass(frozen=True)
class Proved:
    """The outcome of one proof of one version, and how many seconds it took."""

    proof: Proof
    version: str
    outcome: Outcome
    seconds: float


async def prove(
    subject: Subject, wanted: Sequence[str] = (), unwanted: Sequence[str] = (), deadline_s: float = DEADLINE_S
) -> tuple[Proved, ...]:
    """Run the proofs called `wanted` (all, when none is named) but not those called `unwanted`.

    `deadline_s` bounds one proof of one version. Proofs run one at a time: some of them measure.
    """
    found = []
    for number, version in enumerate(subject.versions, start=1):
        label = subject.migration(version).label
        for proof in PROOFS:
            if proof.name in unwanted or (wanted and proof.name not in wanted):
                left_out = not_checked(proof, version, "left out on request", by_request=True)
                found.append(Proved(proof, version, Outcome((left_out,)), 0.0))
                continue
            subject.tell(Progress("file", label, f"{proof.name}: {proof.title}", number, len(subject.versions)))
            started = time.monotonic()
            outcome = await _attempt(proof, subject, version, deadline_s)
            found.append(Proved(proof, version, outcome, time.monotonic() - started))
        await subject.states.forget(version)
    await subject.states.note_stand_ins()
    return tuple(found)


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
        return outcome if outcome.claims else Outcome((not_checked(proof, version, "the proof made no claim"),))
    return Outcome((not_checked(proof, version, why),))
