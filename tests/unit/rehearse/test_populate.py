"""The population: every status, every kind of step, and what years of use leave behind."""

from collections import Counter

from toolkit.contract.statuses import Status
from toolkit.contract.steps import STEPS, Kind, Step
from toolkit.rehearse.stage.populate import MEMBERS, ODD_USER, OTHER_APPLICATION, PAUSED_USER, USERS, build

POPULATION = build(300)
STATE = POPULATION.rows["generated_articles_state"]


def test_every_status_and_every_transient_step():
    assert all(count >= 20 for count in POPULATION.per_status().values())
    steps = {row["current_step_name"] for row in STATE}
    assert {step.value for step, info in STEPS.items() if info.kind is Kind.TRANSIENT} <= steps
    assert None in steps
    waiting = [row for row in STATE if row["status"] == Status.USER_INPUT_REQUIRED]
    assert {row["input_type"] for row in waiting} >= {"select_persona", "select_theme", "approve_plan"}


def test_odd_values_that_the_legacy_schema_allows():
    assert {999, -5} <= {row["progress_percentage"] for row in STATE}
    assert ODD_USER in {row["user_id"] for row in STATE}
    assert max(len(row["article_context"]) for row in STATE) > 20_000


def test_parents_are_there():
    processes = {row["id"] for row in STATE}
    articles = {row["id"] for row in POPULATION.rows["articles"]}
    assert len(processes) == len(STATE)
    assert {row["generation_process_id"] for row in POPULATION.rows["articles"]} <= processes
    assert {row["article_id"] for row in POPULATION.rows["image_placeholders"]} <= articles
    roles = Counter(row["role"] for row in POPULATION.rows["organization_members"])
    assert len(MEMBERS) == roles.total()
    assert set(roles) == {"owner", "admin", "member"}


def test_rows_with_an_owner_of_their_own():
    users = Counter(row["user_id"] for row in STATE)
    assert users[OTHER_APPLICATION] == len(POPULATION.owned)
    assert users[PAUSED_USER] == len(POPULATION.paused) + len(POPULATION.abandoned)
    assert {*USERS, OTHER_APPLICATION, PAUSED_USER} <= set(POPULATION.users)
    paused = [row for row in STATE if row["user_id"] == PAUSED_USER]
    assert {(row["status"], row["current_step_name"]) for row in paused} == {
        ("paused", Step.START),
        ("in_progress", Step.START),
    }
