"""Figures over samples."""

from toolkit.rehearse.traffic.latencies import Sample, during, peaks, rate, summary_of, with_unsent


def test_a_stall_counts_where_it_was_under_way():
    long = Sample(1.0, 5.0)
    assert during([long, Sample(0.0, 0.5), Sample(9.0, 0.1)], 2.0, 3.0) == (long,)


def test_the_picture_names_the_worst_and_the_failed():
    found = summary_of([Sample(float(n), 0.010) for n in range(99)] + [Sample(200.0, 0.5, "500")])
    assert found is not None
    assert (found.count, found.failed, found.worst, found.worst_at) == (100, 1, 500.0, 200.0)
    assert (found.p50, found.p99) == (10.0, 10.0)
    assert summary_of([]) is None


def test_curves_show_gaps_as_nothing():
    samples = [Sample(10.1, 0.1), Sample(10.3, 0.1), Sample(13.2, 0.3)]
    assert rate(samples, 10.0, 1.0) == ((0.5, 2.0), (1.5, 0.0), (2.5, 0.0), (3.5, 1.0))
    assert [at for at, _ in peaks(samples, 10.0, 1.0)] == [0.5, 3.5]
    assert rate([], 0.0, 1.0) == ()


def test_what_a_stall_kept_from_being_sent_waited_too():
    good = [Sample(n * 0.1, 0.01) for n in range(10)]
    stall = Sample(1.0, 1.0)
    naive, honest = summary_of([*good, stall]), summary_of(with_unsent([*good, stall], 0.1))
    assert naive is not None
    assert honest is not None
    assert (naive.count, naive.p50) == (11, 10.0)
    assert honest.count == 20
    assert honest.p50 >= 10.0
    assert 800 <= honest.p95 <= 1000
    assert honest.worst == naive.worst == 1000.0
    ends = {round(sample.end, 9) for sample in with_unsent([stall], 0.1)}
    assert ends == {2.0}, "all of them had to wait until the stall was over"
    assert with_unsent(good, 0.1) == tuple(good)
