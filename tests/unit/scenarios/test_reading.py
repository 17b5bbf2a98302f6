"""Scenario files: what ships is read, what is wrong is said with its line, what was expected and what was found."""

import json
import random
from pathlib import Path

import pytest

from toolkit.contract.prompts import InputType
from toolkit.errors import ExitCode, UsageError
from toolkit.scenarios.model import scenario_file as model
from toolkit.scenarios.model.reading import ScenarioError, find, load, parse, shipped

GOOD = """\
scenario: sample
title: A sample
users: [alice]
processes:
  article:
    user: alice
    count: 2
    answers:
      select_theme: [regenerate, {select: 1}]
      approve_plan: approve
steps:
  - start: article
  - until: every article is completed
    within: 90s
faults:
  - {after: "article[0] event 5", cut: websocket, lasting: 300ms}
check:
  article: [no-gap, {judge: order, point: "1.3"}]
sometimes: [article.missed_live > 0]
limits: {recovery: 5s}
"""

BAD = [
    ("", "", "1:1: expected a scenario, got an empty file"),
    ("users: [alice]", "users: [alice", "expected YAML"),
    ("title: A sample", "tittle: A sample", "2:1: expected no key `tittle` here (did you mean `title`?)"),
    ("title: A sample\n", "", "expected the key `title`, got nothing"),
    ("title: A sample", "title: A sample\ntitle: Another", "3:1: expected 'title' once"),
    ("scenario: sample", "scenario: A Sample", "1:11: expected"),
    ("users: [alice]", "users: alice", "3:8: expected a valid list, got 'alice'"),
    ("user: alice", "user: bob", "6:11: expected one of the users alice, got 'bob'"),
    ("count: 2", "count: two", "7:12: expected a valid integer"),
    ("count: 2", "count: 0", "7:12: expected greater than or equal to 1, got 0"),
    ("approve_plan: approve", "approve_plan: perhaps", "10:21: expected"),
    ("approve_plan: approve", "approve_plan: {select: 0}", "10:21: expected approve, reject, regenerate or an edit"),
    ("approve_plan: approve", "approve_picture: approve", "expected 'select_persona', 'select_theme'"),
    ("start: article", "start: essay", "12:12: expected one of the processes article, got 'essay'"),
    ("- start: article", "- begin: article", "12:5: expected a step with exactly one of the verbs start, until"),
    ("- start: article", "- {start: article, pause: article}", "12:5: expected a step with exactly one of the verbs"),
    ("every article is completed", "article has completed", "13:12: expected `NAME is STATUS"),
    ("every article is completed", "article is finished", "13:12: expected `NAME is STATUS"),
    (
        "within: 90s",
        "within: 90",
        "14:13: expected a duration: a number with its unit, such as 500ms, 10s",
    ),
    ("article[0] event 5", "article[7] event 5", "16:13: expected an index below 2, got 'article[7]'"),
    ("cut: websocket", "cut: power", "expected 'websocket' or 'http', got 'power'"),
    ("cut: websocket", "cut: websocket, kill: worker", "16:5: expected exactly one of cut, lose, slow, freeze"),
    ("no-gap,", "no-gaps,", "18:13: expected one of the judges no-gap"),
    ("article.missed_live > 0", "article.missed > 0", "19:13: expected one of the figures events"),
    ("limits: {recovery: 5s}", "limits: {speed: 5s}", "expected 'recovery'"),
    ("  - start: article", "  - request: FETCH /x\n    expect: {}", "12:14: expected METHOD /path"),
]


def test_a_good_file():
    scenario = parse(GOOD)
    process = scenario.processes["article"]
    assert process.answers != "manual"
    assert process.answers[InputType.SELECT_THEME] == ["regenerate", model.SelectAnswer(select=1)]
    until = scenario.steps[1]
    assert isinstance(until, model.Until)
    assert (until.until.kind, until.until.who, until.until.every, until.within) == ("is", "article", True, 90.0)
    assert scenario.faults[0].lasting == 0.3
    assert scenario.limits == {"recovery": 5.0}
    assert not scenario.control


@pytest.mark.parametrize(("old", "new", "says"), BAD, ids=[says[:60] for _, _, says in BAD])
def test_what_is_wrong_is_said_with_its_place(old, new, says):
    text = GOOD.replace(old, new, 1) if old else new
    assert text != GOOD
    with pytest.raises(ScenarioError) as caught:
        parse(text, "my.yaml")
    assert f"{says}" in str(caught.value)
    first = caught.value.problems[0]
    assert first.file == "my.yaml"
    assert 1 <= first.line <= len(text.splitlines()) + 1
    assert caught.value.exit_code is ExitCode.USAGE


def test_several_problems_are_said_at_once_in_order():
    with pytest.raises(ScenarioError) as caught:
        parse(GOOD.replace("count: 2", "count: 0").replace("within: 90s", "within: soon"))
    assert [problem.line for problem in caught.value.problems] == [7, 14]


@pytest.mark.parametrize("path", shipped().values(), ids=shipped())
def test_every_shipped_scenario_is_read(path):
    scenario = load(path)
    assert scenario.scenario == path.stem
    assert scenario.check


@pytest.mark.parametrize(
    ("number", "points"),
    [("1", 6), ("2", 5), ("3", 4), ("4", 4)],
)
def test_every_numbered_point_of_the_guide_is_asserted(number, points):
    proved = set()
    for path in shipped().values():
        scenario = load(path)
        proved |= {step.point.split()[0] for step in scenario.steps if step.point}
        proved |= {r.point.split()[0] for rulings in scenario.check.values() for r in rulings if r.point}
    assert {f"{number}.{point}" for point in range(1, points + 1)} <= proved


def test_a_name_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="Did you mean process-recovery"):
        find("process-recovry")
    with pytest.raises(UsageError, match="cannot be read"):
        load(tmp_path / "no.yaml")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ScenarioError, match="UTF-8"):
        load(binary)


def test_the_schema_is_json_and_names_every_word():
    schema = model.schema()
    text = json.dumps(schema)
    assert set(schema["properties"]) == set(model.Scenario.model_fields)
    for verb in model.VERBS:
        assert f'"{verb}"' in text


def test_the_vocabulary_is_documented():
    words = (Path(__file__).resolve().parents[3] / "docs" / "reference" / "scenarios.md").read_text()
    for word in (*model.Scenario.model_fields, *model.VERBS, *model.Fault.model_fields, *model.Process.model_fields):
        assert f"`{word}`" in words, f"docs/reference/scenarios.md does not explain `{word}`"


def test_a_range_is_resolved_by_the_seed_alone():
    fault = parse(GOOD.replace("event 5", "event 5..50")).faults[0]
    chosen = {str(fault.after.resolved(random.Random(seed))) for seed in range(20)}
    assert len(chosen) > 5
    assert all(text.startswith("article[0] event ") and ".." not in text for text in chosen)
    again = [fault.after.resolved(random.Random(7)).what for _ in range(2)]
    assert again[0] == again[1]
    assert 5 <= int(again[0]) <= 50
