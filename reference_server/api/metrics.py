"""Prometheus metrics of one server, in a registry of its own: two servers in one process share nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """What the server counts itself, and the facts that were last read from its parts and the database."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Histogram(
            "http_request_duration_seconds",
            "Duration of HTTP requests by route template.",
            ("method", "route", "status"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.legacy_sockets = Gauge(
            "legacy_websocket_connections", "Open legacy WebSocket generations.", registry=self.registry
        )
        self.legacy_generations = Counter(
            "legacy_generations_total",
            "Legacy generations by how they ended.",
            ("outcome",),
            registry=self.registry,
        )
        self.worker = WorkerMetrics(self.registry)
        self._facts = _Facts()
        self.registry.register(self._facts)

    def observe_request(self, method: str, route: str, status: int, seconds: float) -> None:
        # A client may send any text as the method; unknown ones share a label, so that they cannot grow the registry.
        known = method if method in {"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"} else "OTHER"
        self._requests.labels(known, route, str(status)).observe(seconds)

    def render(self, facts: list[Metric]) -> bytes:
        """The exposition text with `facts` added to what is counted here."""
        self._facts.latest = facts
        return generate_latest(self.registry)


class WorkerMetrics:
    """The worker's observer: counts tasks by outcome and measures steps."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._claimed = Counter("tasks_claimed", "Tasks claimed by type.", ("task_type",), registry=registry)
        self._ended = Counter("tasks_ended", "Tasks ended by outcome.", ("outcome",), registry=registry)
        self._failures = Counter("task_claim_failures", "Looks at the queue that failed.", registry=registry)
        self._steps = Histogram(
            "generation_step_duration_seconds", "Duration of steps.", ("step",), buckets=_BUCKETS, registry=registry
        )

    def task_claimed(self, task_type: str) -> None:
        self._claimed.labels(task_type).inc()

    def task_ended(self, outcome: str) -> None:
        self._ended.labels(outcome).inc()

    def step_done(self, step: str, seconds: float) -> None:
        self._steps.labels(step).observe(seconds)

    def claim_failed(self) -> None:
        self._failures.inc()


class _Facts(Collector):
    def __init__(self) -> None:
        self.latest: list[Metric] = []

    def collect(self) -> list[Metric]:
        return self.latest


def gauge(name: str, text: str, values: Mapping[str, float] | float | None, label: str = "status") -> list[Metric]:
    """One gauge, or one for each key of a mapping; none at all for None."""
    if values is None:
        return []
    if isinstance(values, Mapping):
        family = GaugeMetricFamily(name, text, labels=(label,))
        for key, value in values.items():
            family.add_metric((str(key),), float(value))
        return [family]
    return [GaugeMetricFamily(name, text, value=float(values))]


# Facts that only grow while the process runs.
COUNTERS = frozenset(
    {"frames_sent", "frames_ignored", "slow_consumers", "reconnects", "changes_seen", "deliveries", "failures"}
)


def flatten(prefix: str, text: str, facts: Mapping[str, Any]) -> list[Metric]:
    """A metric for every number among `facts`: counters for COUNTERS, durations by the name `…_seconds`."""
    found: list[Metric] = []
    for key, value in facts.items():
        if not isinstance(value, bool | int | float):
            continue
        name, help_text = f"{prefix}_{_unit_last(key)}", f"{text}: {key}."
        if key in COUNTERS:
            found.append(CounterMetricFamily(name, help_text, value=float(value)))
        else:
            found += gauge(name, help_text, float(value))
    return found


def _unit_last(key: str) -> str:
    if key.endswith("_s"):
        return f"{key.removesuffix('_s')}_seconds"
    if key.startswith("seconds_since_"):
        return f"{key.removeprefix('seconds_since_')}_age_seconds"
    return key
