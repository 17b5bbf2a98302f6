"""Whose rows are whose, as read from catalogs of other people's making."""

from __future__ import annotations

from dataclasses import replace

import pytest

from toolkit.migrate.access.ownership import Hints, held_in, merged, ownership_of, snake
from toolkit.migrate.access.privileges import Catalogue, Column, Policy, Reference, Relation

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


def catalogue(*tables: Relation) -> Catalogue:
    return Catalogue({one.name: one for one in tables}, {}, frozenset(), frozenset(), ())


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
    found = ownership_of(catalogue(table("public.things", "id uuid, holder text!, user_id text", using)))
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
    assert ownership_of(catalogue(table("public.things", "id uuid, kind text", using))).owners == {}


@pytest.mark.parametrize("name", ["user_id", "userId", "owner", "ownerId", "created_by", "author_id", "clerk_user_id"])
def test_names_are_believed_where_nothing_else_speaks(name: str) -> None:
    found = ownership_of(catalogue(table("public.t", f"id integer, {name} uuid")))
    assert found.owners == {"public.t": (name,)}
    assert not found.text_ids


def test_the_surest_name_wins_and_numbers_are_no_user_ids() -> None:
    found = ownership_of(
        catalogue(table("public.t", "created_by text, user_id text"), table("public.n", "user_id bigint"))
    )
    assert found.owners == {"public.t": ("user_id",)}


def test_what_refers_to_owned_rows_is_owned_and_its_parent_of_users_too() -> None:
    users = table("auth.users", "id uuid!")
    notes = table("public.notes", "id uuid, writer uuid", references=(Reference(("writer",), "auth.users", ("id",)),))
    comments = table(
        "public.comments", "id uuid, note_id uuid", references=(Reference(("note_id",), "public.notes", ("id",)),)
    )
    plans = table("public.plans", "id uuid, name text")
    found = ownership_of(catalogue(replace(users, platform=True), notes, comments, plans))
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
    found = ownership_of(catalogue(teams, seats, posts, likes))
    assert [(one.table, one.user, one.organisation) for one in found.memberships] == [
        ("public.seats", "user_id", "team_id")
    ]
    assert "public.teams" in found.owned
    assert "public.posts" not in found.owned


def test_hints_go_before_everything() -> None:
    tables = catalogue(table("public.t", "id uuid, user_id uuid, keeper text"), table("public.shared", "user_id text"))
    found = ownership_of(tables, Hints({"public.t": ("keeper",), "public.shared": ()}, text_ids=False))
    assert found.owners == {"public.t": ("keeper",)}
    assert "public.shared" not in found.owned
    assert not found.text_ids


def test_two_states_are_looked_at_alike() -> None:
    before, after = (
        catalogue(table("public.t", "id uuid, user_id text")),
        catalogue(table("public.t", "id uuid, holder text", "(holder = (auth.uid())::text)")),
    )
    both = merged(ownership_of(before), ownership_of(after))
    assert both.owners == {"public.t": ("user_id", "holder")}
    assert held_in(both, after).owners == {"public.t": ("holder",)}
    assert held_in(both, catalogue()).owners == {}


def test_names_in_any_style() -> None:
    assert [snake(name) for name in ("userId", "User ID", "user_id", "ownerUserID")] == [
        "user_id",
        "user_id",
        "user_id",
        "owner_user_id",
    ]
