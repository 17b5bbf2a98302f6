"""Whose rows are whose, as read from catalogs of other people's making."""

from __future__ import annotations

from dataclasses import replace

import pytest

from toolkit.migrate.access.ownership import Hints, held_in, merged, ownership_of, snake
from toolkit.migrate.access.privileges import AccessCatalog, Column, Policy, Reference, Relation

TABLE = Relation(1, "", "", "r", False, True, False, "postgres", True, False, False, "", False, {})


def table(name: str, columns: str, using: str = "", references: tuple[Reference, ...] = (), key: str = "") -> Relation:
    """`columns` as "id uuid, user_id text!" where ! means not null."""
    parsed = tuple(
        Column(word.split(" ", 1)[0], word.split(" ", 1)[1].rstrip("!"), word.endswith("!"), None, False, {})
        for word in columns.split(", ")
    )
    policies = (Policy("p", "r", True, ("authenticated",), using, ""),) if using else ()
    keys = (frozenset(key.split(", ")),) if key else ()
    return replace(TABLE, name=name, columns=parsed, policies=policies, references=references, keys=keys)


def catalog(*tables: Relation) -> AccessCatalog:
    return AccessCatalog({one.name: one for one in tables}, {}, frozenset(), frozenset(), ())


@pytest.mark.parametrize(
    "using",
    [
        "(holder = ( SELECT (auth.jwt() ->> 'sub'::text) AS jwt))",
        "((auth.jwt() ->> 'sub'::text) = holder)",
        "(( SELECT auth.uid() AS uid) = (holder)::uuid)",
        "((auth.uid())::text = holder)",
        "(holder = ((current_setting('request.jwt.claims'::text, true))::json ->> 'sub'::text))",
        "(NOT (holder IS DISTINCT FROM (auth.jwt() ->> 'sub'::text)) OR (holder = (auth.uid())::text))",
        "(EXISTS ( SELECT 1 FROM x WHERE (x.id = things.id) AND (things.holder = (auth.uid())::text)))",
    ],
)
def test_a_column_that_a_policy_compares_with_the_subject_holds_owners(using: str) -> None:
    found = ownership_of(catalog(table("public.things", "id uuid, holder text!, user_id text", using)))
    assert found.owners == {"public.things": ("holder",)}
    assert found.text_ids


@pytest.mark.parametrize(
    "using",
    [
        "true",
        "(kind = 'open'::text)",
        "((auth.jwt() ->> 'role'::text) = 'service_role'::text)",
        "((kind = 'open'::text) AND (auth.uid() IS NOT NULL))",
        "(EXISTS ( SELECT 1 FROM y WHERE (y.id = things.kind) AND (y.holder = (auth.uid())::text)))",
    ],
)
def test_other_comparisons_make_no_owner(using: str) -> None:
    assert ownership_of(catalog(table("public.things", "id uuid, kind text", using))).owners == {}


@pytest.mark.parametrize("name", ["user_id", "userId", "owner", "ownerId", "created_by", "author_id", "clerk_user_id"])
def test_names_are_believed_where_nothing_else_speaks(name: str) -> None:
    found = ownership_of(catalog(table("public.t", f"id integer, {name} uuid")))
    assert found.owners == {"public.t": (name,)}
    assert not found.text_ids


def test_the_surest_name_wins_and_numbers_are_no_user_ids() -> None:
    found = ownership_of(
        catalog(table("public.t", "created_by text, user_id text"), table("public.n", "user_id bigint"))
    )
    assert found.owners == {"public.t": ("user_id",)}


def test_what_refers_to_owned_rows_is_owned_and_its_parent_of_users_too() -> None:
    users = table("auth.users", "id uuid!")
    notes = table("public.notes", "id uuid, writer uuid", references=(Reference(("writer",), "auth.users", ("id",)),))
    comments = table(
        "public.comments", "id uuid, note_id uuid", references=(Reference(("note_id",), "public.notes", ("id",)),)
    )
    plans = table("public.plans", "id uuid, name text")
    found = ownership_of(catalog(replace(users, platform=True), notes, comments, plans))
    assert found.owners == {"public.notes": ("writer",), "auth.users": ("id",)}
    assert found.owned == {"auth.users", "public.notes", "public.comments"}


def test_memberships() -> None:
    teams = table("public.teams", "id uuid")
    seats = table(
        "public.seats",
        "team_id uuid, user_id text",
        references=(Reference(("team_id",), "public.teams", ("id",)),),
        key="team_id, user_id",
    )
    likes = table(
        "public.likes",
        "post_id uuid, user_id text",
        references=(Reference(("post_id",), "public.posts", ("id",)),),
        key="post_id, user_id",
    )
    posts = table("public.posts", "id uuid, title text")
    found = ownership_of(catalog(teams, seats, posts, likes))
    assert [(one.table, one.user, one.organisation) for one in found.memberships] == [
        ("public.seats", "user_id", "team_id")
    ]
    assert "public.teams" in found.owned
    assert "public.posts" not in found.owned


def test_hints_go_before_everything() -> None:
    tables = catalog(table("public.t", "id uuid, user_id uuid, keeper text"), table("public.shared", "user_id text"))
    found = ownership_of(tables, Hints({"public.t": ("keeper",), "public.shared": ()}, text_ids=False))
    assert found.owners == {"public.t": ("keeper",)}
    assert "public.shared" not in found.owned
    assert not found.text_ids


@pytest.mark.parametrize(
    ("columns", "using", "texts"),
    [
        ("id uuid, user_id uuid, customer_id text", "(( SELECT auth.uid() AS uid) = user_id)", False),
        ("id uuid, owner uuid, repo_owner text", "((auth.uid())::text = (owner)::text)", False),
        ("id uuid, user_id uuid, customer_id text", "((auth.jwt() ->> 'sub'::text) = customer_id)", True),
        ("id uuid, user_id text", "((auth.uid())::text = user_id)", True),
        ("id uuid, readers text[]", "((auth.uid())::text = ANY (readers))", True),
        ("id uuid, readers uuid[], customer_id text", "(auth.uid() = ANY (readers))", False),
        ("id uuid, user_id text", "public.may_read(id)", True),
        ("id uuid, user_id uuid", "public.may_read(id)", False),
        (
            "id uuid, team uuid",
            "(EXISTS ( SELECT 1 FROM seats s WHERE ((s.team = t.team) AND (s.who = auth.uid()))))",
            False,
        ),
        (
            "id uuid, team uuid",
            "(EXISTS ( SELECT 1 FROM seats s WHERE ((s.team = t.team) AND (s.name = auth.uid()))))",
            True,
        ),
        ("id uuid, team uuid", "(auth.uid() IN ( SELECT seats.who FROM seats WHERE (seats.team = t.team)))", False),
        (
            "id uuid, team uuid",
            "((auth.uid())::text IN ( SELECT seats.name FROM seats WHERE (seats.team = t.team)))",
            True,
        ),
        ("id uuid, team uuid", "(team IN ( SELECT seats.team FROM seats WHERE (seats.who = auth.uid())))", False),
    ],
)
def test_the_column_that_is_compared_says_whether_a_subject_may_be_a_text(
    columns: str, using: str, texts: bool
) -> None:
    seats = table("public.seats", "team uuid, who uuid, name text")
    found = ownership_of(catalog(seats, table("public.t", columns, using)))
    assert ("public.t" in found.text_tables) is texts
    for hint in (True, False):
        assert ("public.t" in ownership_of(catalog(seats), Hints({}, text_ids=hint)).text_tables) is False
        told = ownership_of(catalog(seats, table("public.t", columns, using)), Hints({}, text_ids=hint))
        assert ("public.t" in told.text_tables) is hint


def test_a_lookup_is_judged_by_the_policies_of_the_table_that_it_reads() -> None:
    child = table("public.c", "id uuid, t_id uuid", "(EXISTS ( SELECT 1 FROM t WHERE (t.id = c.t_id)))")
    for column, texts in (("user_id", False), ("customer_id", True)):
        parent = table(
            "public.t", "id uuid, user_id uuid, customer_id text", f"((auth.uid())::text = ({column})::text)"
        )
        assert ("public.c" in ownership_of(catalog(child, parent)).text_tables) is texts


def test_two_states_are_looked_at_alike() -> None:
    before, after = (
        catalog(table("public.t", "id uuid, user_id text")),
        catalog(table("public.t", "id uuid, holder text", "(holder = (auth.uid())::text)")),
    )
    both = merged(ownership_of(before), ownership_of(after))
    assert both.owners == {"public.t": ("user_id", "holder")}
    assert held_in(both, after).owners == {"public.t": ("holder",)}
    assert held_in(both, catalog()).owners == {}


def test_names_in_any_style() -> None:
    assert [snake(name) for name in ("userId", "User ID", "user_id", "ownerUserID")] == [
        "user_id",
        "user_id",
        "user_id",
        "owner_user_id",
    ]
