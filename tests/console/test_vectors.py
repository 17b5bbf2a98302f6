"""The browser's machine and fold answer what the Python ones answer, over thousands of histories."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.console.conftest import node
from tests.support import recovery_vectors, state_vectors
from toolkit.contract import events, prompts, statuses, steps


def write(path: Path, vectors: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(map(json.dumps, vectors)) + "\n")
    return path


def test_the_recovery_machine(package: Path, tmp_path: Path) -> None:
    vectors = list(recovery_vectors.vectors(2000, seed=1))
    told = Counter(effect[0] for v in vectors for step in v["steps"] for effect in step["effects"])
    assert min(told[kind] for kind in ("history_expired", "history_restarted", "stalled", "end")) > 100, told
    answer = node("tests/recovery-vectors.ts", str(write(tmp_path / "v.jsonl", vectors)), cwd=package)
    assert answer == {"histories": 2000, "steps": sum(len(v["steps"]) for v in vectors)}


def test_a_machine_that_differs_is_noticed(package: Path, tmp_path: Path) -> None:
    [vector] = recovery_vectors.vectors(1, seed=2)
    place = next(step for step in vector["steps"] if step["effects"])
    place["effects"][0][-1] = "something else"
    file = write(tmp_path / "v.jsonl", [vector])
    with pytest.raises(AssertionError, match=r"history 1, step \d+"):
        node("tests/recovery-vectors.ts", str(file), cwd=package)


def test_the_fold_of_events(package: Path, tmp_path: Path) -> None:
    vectors = list(state_vectors.vectors(300, seed=1))
    answer = node("tests/state-vectors.ts", str(write(tmp_path / "v.jsonl", vectors)), cwd=package)
    assert answer == {"processes": 300, "states": sum(len(v["states"]) for v in vectors)}
    vectors[7]["states"][3]["progressPercentage"] += 1
    with pytest.raises(AssertionError, match="process 8, event 3"):
        node("tests/state-vectors.ts", str(write(tmp_path / "v.jsonl", vectors)), cwd=package)


def test_what_it_knows_of_the_contract(package: Path) -> None:
    known = node("tests/contract.ts", cwd=package)
    assert known["STEPS"] == {
        step: {"kind": info.kind, "progress": info.progress} for step, info in steps.STEPS.items()
    }
    assert known["REGENERATES"] == dict(steps.REGENERATES.items())
    assert set(known["ENDED"]) == statuses.ENDED
    assert set(known["TERMINAL"]) == events.TERMINAL
    assert {*known["ROW_EVENTS"], *known["APPLICATION_EVENTS"]} == {*events.EventType}
    assert set(known["INPUT_TYPES"]) == {*prompts.InputType}
    assert set(known["RESPONSE_TYPES"]) == {*prompts.ResponseType}
    covered = [step for visible in known["VISIBLE_STEPS"] for step in visible["covers"]]
    assert sorted(covered) == sorted(set(steps.Step) - {steps.Step.COMPLETED, steps.Step.ERROR})
