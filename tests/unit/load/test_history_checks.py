"""The old socket numbers nothing, so what it told is compared with the steps and prompts that were recorded."""

from toolkit.load.history_checks import check_history, frames_told
from toolkit.report.record import Verdict
from toolkit.scenarios.recorded.facts import gather
from toolkit.scenarios.recorded.history import History

PROCESS = "6f1c1a53-8e31-4bc9-9a83-000000000001"
STEPS = ["keyword_analyzing", "persona_generating"]


def socket_history(*, told=STEPS, prompt=True):
    history = History()
    history.add("note", "run", "scenario", value={"name": "load", "transport": "websocket"})
    history.add(
        "note",
        "run",
        "process",
        process=PROCESS,
        value={"name": "user-1/1", "user": "user-1", "transport": "websocket"},
    )
    history.add("note", "watch:user-1/1", "watch", process=PROCESS, value={"user": "user-1"})
    frames = [{"type": "status", "data": {"step": step}} for step in told]
    frames += [{"type": "prompt", "data": {"request_type": "select_persona"}}] if prompt else []
    for frame in frames:
        history.add("deliver", "watch:user-1/1", process=PROCESS, via="socket", value=frame)
    last = "start"
    for seq, step in enumerate(STEPS, start=1):
        value = {"type": "step_changed", "data": {"changes": {"current_step": [last, step]}}}
        history.add("db", "database", "event", process=PROCESS, seq=seq, value=value)
        last = step
    value = {"type": "user_input_required", "data": {"input_type": "select_persona"}}
    history.add("db", "database", "event", process=PROCESS, seq=3, value=value)
    return gather(history.records)


def test_all_told():
    facts = socket_history()
    assert frames_told(facts, facts.processes).verdict is Verdict.PASS


def test_a_step_and_a_prompt_that_were_never_told():
    facts = socket_history(told=STEPS[:1])
    check = frames_told(facts, facts.processes)
    assert check.verdict is Verdict.FAIL
    assert "step persona_generating" in check.detail
    facts = socket_history(prompt=False)
    assert "prompt select_persona" in frames_told(facts, facts.processes).detail


def test_nothing_completed_is_unknown():
    assert frames_told(socket_history(), []).verdict is Verdict.UNKNOWN


def test_an_empty_history_passes_nothing():
    checks, counts, _ = check_history(gather(()), "realtime", sql=True, clock_known=True)
    assert checks
    assert {check.verdict for check in checks} == {Verdict.UNKNOWN}
    assert counts["processes judged"] == 0


def test_a_clock_that_nobody_compared_is_said():
    _, _, notes = check_history(gather(()), "realtime", sql=False, clock_known=False)
    assert any("clock" in note for note in notes)
    assert any("DATABASE_URL" in note for note in notes)


def test_a_process_that_the_end_of_the_run_cut_off_accuses_nobody():
    def cut(*, failed: bool):
        history = History()
        history.add("note", "run", "process", process=PROCESS, value={"name": "user-1/1", "user": "user-1"})
        history.add("note", "watch:user-1/1", "watch", process=PROCESS, value={"user": "user-1"})
        history.add("note", "watch:user-1/1", "no-last-word", process=PROCESS, error="nothing within 15 s")
        if failed:
            history.add("note", "user:user-1", "failed", process=PROCESS, error="not finished within 1 s")
        history.add("note", "watch:user-1/1", "unwatch", process=PROCESS)
        value = {"type": "status_changed", "data": {"changes": {"status": ["in_progress", "cancelled"]}}}
        history.add("db", "database", "event", process=PROCESS, seq=1, value=value)
        history.add("db", "database", "state", process=PROCESS, value={"status": "cancelled"})
        checks, _, _ = check_history(gather(history.records), "realtime", sql=True, clock_known=True)
        return next(check.verdict for check in checks if check.id == "load.no-loss")

    assert cut(failed=False) is Verdict.UNKNOWN
    assert cut(failed=True) is Verdict.FAIL


def realtime_history(processes=100, events=100, *, lost=()):
    history = History(at_once=False)
    history.add("note", "run", "scenario", value={"name": "load", "transport": "realtime"})
    for number in range(processes):
        process, name = f"6f1c1a53-8e31-4bc9-9a83-{number:012}", f"user-{number}/1"
        told = {"name": name, "user": f"user-{number}", "transport": "realtime"}
        history.add("note", "run", "process", process=process, value=told)
        history.add("note", f"watch:{name}", "watch", process=process, value={"user": f"user-{number}", "since": 0})
        for seq in range(1, events + 1):
            type_ = "generation_completed" if seq == events else "research_progress"
            row = {"process": process, "seq": seq, "event_id": f"{number}-{seq}", "value": {"type": type_, "data": {}}}
            if (number, seq) not in lost:
                history.add("deliver", f"watch:{name}", via="live", **row)
            history.add("db", "database", "event", **row)
        history.add("db", "database", "state", process=process, value={"status": "completed"})
    return gather(history.records)


def test_one_lost_event_in_ten_thousand_is_found():
    def seen(facts):
        checks, counts, _ = check_history(facts, "realtime", sql=False, clock_known=True)
        return next(check for check in checks if check.id == "load.no-loss"), counts

    whole, counts = seen(realtime_history())
    assert (whole.verdict, counts["events in the database"], counts["lost"]) == (Verdict.PASS, 10_000, 0)
    holed, counts = seen(realtime_history(lost={(73, 41)}))
    assert (holed.verdict, counts["lost"]) == (Verdict.FAIL, 1)
    assert "41" in holed.seen
