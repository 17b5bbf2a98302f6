"""Reading and judging a long history, beside merely parsing its lines: what the judgement costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import orjson

from tests.unit.scenarios.histories import good
from toolkit.report.record import Verdict
from toolkit.scenarios.judges import ALL
from toolkit.scenarios.judges.judge import judge
from toolkit.scenarios.recorded.facts import Facts, gather
from toolkit.scenarios.recorded.history import dump, load

PROCESSES = 200
ROUNDS = 3


def test_judging_a_history(tmp_path: Path) -> None:
    names = [f"p{number}" for number in range(PROCESSES)]
    path = tmp_path / "history.jsonl"
    path.write_bytes(dump(good(names=names).records))
    lines = path.read_bytes().splitlines()

    parsing = _seconds(lambda: [orjson.loads(line) for line in lines])
    loading = _seconds(lambda: load(path))
    records = load(path)
    gathering = _seconds(lambda: gather(records))
    facts = gather(records)
    judging = _seconds(lambda: _judge_all(facts))
    whole = loading + gathering + judging

    print(f"\nhistory of {len(lines)} records, {PROCESSES} processes, {len(ALL)} judges:")
    print(f"  bare orjson.loads      {len(lines) / parsing:>10,.0f} records/s")
    print(f"  load, gather and judge {len(lines) / whole:>10,.0f} records/s  ×{whole / parsing:.1f} of the bare parse")
    print(f"    load ×{loading / parsing:.1f}, gather ×{gathering / parsing:.1f}, judge ×{judging / parsing:.1f}")


def _judge_all(facts: Facts) -> None:
    scope = list(facts.processes)
    verdicts = {rule.id: judge(facts, rule, scope).verdict for rule in ALL}
    assert verdicts["no-loss"] is Verdict.PASS
    assert verdicts["order"] is Verdict.PASS


def _seconds(work: Callable[[], object]) -> float:
    """The best of some rounds: the machine's other work only ever adds."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return best
