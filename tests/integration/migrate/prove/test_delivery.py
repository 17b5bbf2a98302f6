"""The delivery proof against planted defects and healthy neighbours: what subscribers lose, and what they do not.

Changes of single tables lie side by side in one migration, each on a table of its own; what concerns a whole
publication has a migration to itself.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from tests.integration.migrate.prove.conftest import SubjectOf, refuted, said
from tests.integration.migrate.prove.delivery_cases import BREAKS_OFF, HEALTHY, ORDERS, PLANTS, ROLLBACKS, WHOLE, Case
from tests.support.installed_postgres import major
from toolkit.migrate.prove.delivery.delivery_proof import PROOF
from toolkit.migrate.prove.subject.claims import Claim, Level, Outcome
from toolkit.postgres.cluster import PostgresCluster
from toolkit.resources import migrations_dir

_cache: dict[str, Outcome] = {}


async def prove(subject_of: SubjectOf, start: str, up: str, rollback: str = "", **options: object) -> Outcome:
    files = {"1_change.sql": up, **({"rollbacks/1_change.sql": rollback} if rollback else {})}
    subject = await subject_of(files, start=start, rows_each=2, **{"endpoint": False, **options})
    return await PROOF.run(subject, "1")


async def side_by_side(subject_of: SubjectOf, name: str, cases: tuple[Case, ...]) -> Outcome:
    """One migration of many tables, run once for all tests that look at it."""
    if name not in _cache:
        destroyed = "\n".join(f"-- destroys: {one.named(line)}" for one in cases for line in one.destroys)
        _cache[name] = await prove(
            subject_of,
            "\n".join(one.named(one.start) for one in cases),
            "\n".join(one.named(one.up) for one in cases),
            "\n".join((destroyed, *(one.named(one.down) for one in cases if one.down))),
        )
    return _cache[name]


def claim_of(outcome: Outcome, part: str) -> Claim:
    return next(claim for claim in outcome.claims if claim.id.endswith(f"-1-{part}"))


@pytest.mark.parametrize("case", PLANTS, ids=lambda case: case.id)
async def test_a_defect_of_a_table_is_found(subject_of: SubjectOf, case: Case) -> None:
    outcome = await side_by_side(subject_of, "plants", PLANTS)

    assert [words for words in case.says if case.named(words) not in said(outcome)] == [], said(outcome)
    assert all(claim.remedy for claim in refuted(outcome))


@pytest.mark.parametrize("case", ROLLBACKS, ids=lambda case: case.id)
async def test_a_defect_of_a_rollback_is_found(subject_of: SubjectOf, case: Case) -> None:
    outcome = await side_by_side(subject_of, "rollbacks", ROLLBACKS)

    assert [words for words in case.says if case.named(words) not in said(outcome)] == [], outcome.claims
    assert claim_of(outcome, "published").violations == claim_of(outcome, "up").violations == ()


@pytest.mark.parametrize(("start", "up", "rollback", "says"), [pytest.param(*w[1:], id=w[0]) for w in WHOLE])
async def test_a_defect_of_a_publication_is_found(
    subject_of: SubjectOf, cluster: PostgresCluster, start: str, up: str, rollback: str, says: tuple[str, ...]
) -> None:
    outcome = await prove(subject_of, start, up, rollback)

    # From Postgres 18 on, a publication that is not there is a warning to whoever reads it.
    wanted = [words for words in says if words != BREAKS_OFF or major(cluster.bin_dir) < 18]
    assert [words for words in wanted if words not in said(outcome)] == [], said(outcome)


async def test_healthy_changes_raise_nothing_and_are_proved(subject_of: SubjectOf) -> None:
    outcome = await side_by_side(subject_of, "healthy", HEALTHY)

    assert said(outcome) == ""
    assert {claim.id: claim.level for claim in outcome.claims} == {
        "delivery-1-published": Level.PROVED,
        "delivery-1-up": Level.PROVED,
        "delivery-1-rollback-published": Level.PROVED,
        "delivery-1-rollback": Level.PROVED,
    }, [(claim.basis, outcome.notes) for claim in outcome.claims]
    assert any("table_added joined: Realtime reads the list" in note for note in outcome.notes)
    figures = {measurement.name: measurement.value for measurement in outcome.measurements}
    assert figures["1: probe rows lost"] == 0 < figures["1: probe rows written"]
    assert "during the migration" in {row[1] for row in outcome.tables[0].rows}


async def test_what_was_broken_before_is_noted_and_blamed_on_nobody(subject_of: SubjectOf) -> None:
    start = "create table public.notes (body text);\nalter publication supabase_realtime add table public.notes;"

    outcome = await prove(subject_of, start, "alter table public.notes add column more text;")

    assert said(outcome) == ""
    assert claim_of(outcome, "up").level is Level.SAMPLED
    assert any("UPDATE and DELETE fail with 55000; it was so before" in note for note in outcome.notes)
    assert claim_of(outcome, "rollback").level is Level.NOT_CHECKED


async def test_an_index_built_concurrently_disturbs_nobody(subject_of: SubjectOf) -> None:
    alone = "-- toolkit: transaction=false\n"

    outcome = await prove(
        subject_of,
        ORDERS,
        f"{alone}create index concurrently orders_note on public.orders (note);",
        f"{alone}drop index concurrently public.orders_note;",
    )

    assert said(outcome) == ""
    assert claim_of(outcome, "up").level is Level.PROVED


async def test_where_nothing_is_published_no_delivery_is_claimed(subject_of: SubjectOf) -> None:
    outcome = await prove(subject_of, "", "create table public.quiet (id int primary key);")

    assert [claim.id for claim in outcome.claims] == ["delivery-1-rollback"]
    assert "1: no table is published before or after, so there is nothing to deliver" in outcome.notes


async def test_a_rollback_that_fails_leaves_the_rest_proved(subject_of: SubjectOf) -> None:
    outcome = await prove(
        subject_of, ORDERS, "alter table public.orders add column tag text;", "drop table public.none;"
    )

    assert claim_of(outcome, "up").level is Level.PROVED
    assert claim_of(outcome, "rollback").level is Level.NOT_CHECKED
    assert "none" in claim_of(outcome, "rollback").basis


async def test_our_own_migrations_are_delivered_in_every_phase_and_at_the_endpoint(subject_of: SubjectOf) -> None:
    subject = await subject_of(migrations_dir(), rows_each=3, endpoint=False)
    largest = subject.versions[1]  # the realtime migration

    outcomes = []
    for version in subject.versions:
        options = replace(subject.options, endpoint=version == largest)
        outcomes.append(await PROOF.run(replace(subject, options=options), version))

    for outcome in outcomes:
        assert said(outcome) == ""
        assert {claim.level for claim in outcome.claims if not claim.id.endswith("-endpoint")} == {Level.PROVED}, (
            outcome
        )
    (endpoint,) = [claim for outcome in outcomes for claim in outcome.claims if claim.id.endswith("-endpoint")]
    assert endpoint.level is Level.SAMPLED
    assert "5 tables listened to as service_role" in endpoint.basis
    assert "heard by the owner" in endpoint.basis


async def test_a_policy_that_hides_rows_from_their_owner_is_found_at_the_endpoint(subject_of: SubjectOf) -> None:
    start = """
      create table public.letters (id uuid primary key, user_id text not null, body text);
      alter table public.letters enable row level security;
      create policy own on public.letters for select to authenticated using (user_id = auth.jwt() ->> 'sub');
      alter publication supabase_realtime add table public.letters;
    """
    up = "alter policy own on public.letters using (false);"
    down = "alter policy own on public.letters using (user_id = auth.jwt() ->> 'sub');"

    outcome = await prove(subject_of, start, up, down, endpoint=True)

    assert [claim.id for claim in refuted(outcome)] == ["delivery-1-endpoint"], outcome.claims
    assert "hears no INSERT of public.letters any more: a policy hides them" in said(outcome)
    assert "after the rollback" not in said(outcome)


async def test_an_endpoint_that_does_not_start_is_said(subject_of: SubjectOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "toolkit.migrate.prove.delivery.endpoint.COMMAND", (sys.executable, "-c", "raise SystemExit(4)")
    )

    outcome = await prove(subject_of, ORDERS, "create index on public.orders (note);", endpoint=True)

    assert claim_of(outcome, "endpoint").level is Level.NOT_CHECKED
    assert "does not serve there: The server realtime exited with code 4" in claim_of(outcome, "endpoint").basis
    assert claim_of(outcome, "up").level is Level.PROVED


async def test_more_tables_than_are_written_to_make_a_sample_that_begins_with_those_it_changes(
    subject_of: SubjectOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolkit.migrate.prove.delivery.delivery_proof.MOST_TABLES", 1)
    start = ORDERS + ORDERS.replace("orders", "a_table")

    outcome = await prove(subject_of, start, "alter table public.orders add column tag text;")

    assert claim_of(outcome, "up").level is Level.SAMPLED
    assert any("not written to, being more than 1: public.a_table" in note for note in outcome.notes)


async def test_without_logical_decoding_the_catalog_is_compared_all_the_same(
    subject_of: SubjectOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolkit.sql.prove_delivery.WAL_LEVEL", "select 'replica'")

    outcome = await prove(subject_of, ORDERS, "alter publication supabase_realtime drop table public.orders;")

    assert claim_of(outcome, "up").level is Level.NOT_CHECKED
    assert "wal_level=replica" in claim_of(outcome, "up").basis
    assert "public.orders left publication" in said(outcome)


async def test_an_application_role_writes_where_one_may(subject_of: SubjectOf) -> None:
    start = f"""
      {ORDERS}
      create table public.guarded (id int primary key);
      revoke all on public.guarded from anon, authenticated, service_role;
      alter publication supabase_realtime add table public.guarded;
    """

    outcome = await prove(subject_of, start, "alter table public.orders add column tag text;")

    assert claim_of(outcome, "up").level is Level.PROVED
    (note,) = [note for note in outcome.notes if "administrator" in note]
    assert note.endswith("may: public.guarded")
