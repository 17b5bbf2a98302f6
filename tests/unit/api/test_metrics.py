"""Names on the metrics page: units last, counters marked, labels that clients cannot grow."""

from __future__ import annotations

from dataclasses import asdict, fields

from prometheus_client.parser import text_string_to_metric_families

from reference_server.api.metrics import COUNTERS, Metrics, flatten
from reference_server.realtime.changes.feed_facts import FeedFacts
from reference_server.realtime.sockets.service import RealtimeFacts
from reference_server.workers.loop import WorkerStatus

FEED = FeedFacts("live", "0/0", None, 1, 2, 3, 4, 5, 6, 7.5, 8.5)
REALTIME = RealtimeFacts("live", 0.5, "live", None, 1, 2, 3, 4, 5, 6, 7)
WORKER = WorkerStatus("w", 1, 2, True, False, 3.0, 4.0)


def page() -> dict[str, str]:
    """Type of each metric by name."""
    metrics = Metrics()
    facts = flatten("realtime", "Realtime", asdict(REALTIME)) + flatten("realtime_feed", "Feed", asdict(FEED))
    text = metrics.render(facts + flatten("worker", "Worker", asdict(WORKER))).decode()
    return {
        sample.name: family.type for family in text_string_to_metric_families(text) for sample in family.samples
    } | {family.name: family.type for family in text_string_to_metric_families(text) if not family.samples}


def test_facts_are_named_by_their_kind_and_unit() -> None:
    names = page()
    assert names["realtime_frames_sent_total"] == names["realtime_feed_reconnects_total"] == "counter"
    assert names["realtime_connections"] == names["realtime_feed_lag_seconds"] == "gauge"
    assert {"realtime_stream_lag_seconds", "worker_heartbeat_age_seconds", "worker_listening"} <= names.keys()
    assert not [name for name in names if name.endswith("_s") or "seconds_since" in name]


def test_every_counter_is_a_fact() -> None:
    assert {field.name for kind in (FeedFacts, RealtimeFacts) for field in fields(kind)} >= COUNTERS


def test_clients_cannot_add_series_by_their_choice_of_method() -> None:
    metrics = Metrics()
    for method in ("GET", "BREW", "brew-2"):
        metrics.observe_request(method, "unmatched", 404, 0.1)
    text = metrics.render([]).decode()
    assert 'method="OTHER"' in text
    assert "BREW" not in text.upper().replace("OTHER", "")
