"""Finds in an unknown schema whom rows belong to: owner columns, memberships, and the tables that refer to them.
Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from toolkit.migrate.access.compared import TEXTS, compared, looked_up
from toolkit.migrate.access.privileges import AccessCatalog, Column, Relation

# The most certain names first: a table with a name of one group is not searched for those of later groups.
USER_NAMES = (
    re.compile(r"^(user|owner|owner_user|account_user)_?(id|uuid)?$|^clerk_(user_)?id$|^auth_(user_)?id$|^sub$"),
    re.compile(r"^(author|creator|profile|member|customer|uploader|sender)_?(id|uuid)$|_user_id$|^owned_by$"),
    re.compile(r"^created_by$|^author$|^creator$|^uid$"),
)
_ORGANISATION = re.compile(r"^(org|organi[sz]ation|team|tenant|workspace|company|group|account|project|club)s?(_|$)")
_MEMBERSHIP = re.compile(r"(member|participant|collaborator|seat)|_users$|^user_(org|team|group|role|tenant|workspace)")
_USERS_TABLE = re.compile(r"(^|\.)(users?|profiles?|accounts?|people|persons?)$")


@dataclass(frozen=True)
class Hints:
    """What the user's expectations say about ownership. `owners`: table → its owner columns (none: its rows belong to
    nobody); `memberships`: (table, user column, organisation column); `text_ids` None: not given."""

    owners: Mapping[str, tuple[str, ...]]
    memberships: tuple[tuple[str, str, str], ...] = ()
    text_ids: bool | None = None


NO_HINTS = Hints({})


@dataclass(frozen=True)
class Membership:
    """A table that assigns users to organisations."""

    table: str
    user: str
    organisation: str


@dataclass(frozen=True)
class Ownership:
    """`owners`: table → columns that hold a user's id; `owned`: tables whose rows belong to somebody, by such a column
    or through a foreign key; `text_ids`: users are known by texts that are no uuids; `text_tables`: the tables and
    views that a session with such a subject has to be able to read."""

    owners: Mapping[str, tuple[str, ...]]
    memberships: tuple[Membership, ...]
    owned: frozenset[str]
    text_ids: bool
    text_tables: frozenset[str] = frozenset()


def ownership_of(catalog: AccessCatalog, hints: Hints = NO_HINTS) -> Ownership:
    """The ownership by policies (a column compared with the claims), foreign keys to users, and names, in this
    order."""
    tables = {name: one for name, one in catalog.relations.items() if one.is_table}
    owners: dict[str, tuple[str, ...]] = {}
    for name, table in tables.items():
        found = hints.owners.get(name)
        if found is None:
            found = () if table.platform else _owner_columns(table, tables)
        if found:
            owners[name] = found
    _propagate(tables, owners)
    memberships = tuple(Membership(*one) for one in hints.memberships if one[0] in tables) or tuple(
        _memberships(tables, owners)
    )
    for membership in memberships:
        mine = owners.get(membership.table, ())
        if membership.user not in mine:
            owners[membership.table] = (*mine, membership.user)
    nobodys = {name for name, columns in hints.owners.items() if not columns}
    owned = _owned(tables, owners, memberships, nobodys)
    in_columns = any(
        column is not None and column.type in TEXTS
        for name, columns in owners.items()
        for column in (tables[name].column(one) for one in columns)
    )
    if hints.text_ids is not None:
        every = frozenset(catalog.relations) if hints.text_ids else frozenset[str]()
        return Ownership(owners, memberships, frozenset(owned), hints.text_ids, every)
    # A text column with an owner's name says little beside policies that compare uuids.
    seen = _compared_types(tables)
    types = {type_ for every_type, _ in seen.values() for type_ in every_type}
    text_ids = bool(types & TEXTS) if types else in_columns
    text_tables = _text_tables(seen, catalog.relations, unseen=text_ids)
    return Ownership(owners, memberships, frozenset(owned), text_ids, frozenset(text_tables))


def merged(one: Ownership, other: Ownership) -> Ownership:
    """The ownership of two states of a schema together, so that both are tried with the same rows."""
    owners = {
        name: tuple(dict.fromkeys((*one.owners.get(name, ()), *other.owners.get(name, ()))))
        for name in {*one.owners, *other.owners}
    }
    memberships = tuple(dict.fromkeys((*one.memberships, *other.memberships)))
    return Ownership(
        owners,
        memberships,
        one.owned | other.owned,
        one.text_ids or other.text_ids,
        one.text_tables | other.text_tables,
    )


def held_in(ownership: Ownership, catalog: AccessCatalog) -> Ownership:
    """The ownership restricted to tables and columns that this state of the schema has."""

    def has(table: str, column: str) -> bool:
        found = catalog.relations.get(table)
        return found is not None and found.column(column) is not None

    owners = {
        name: columns
        for name, every in ownership.owners.items()
        if (columns := tuple(column for column in every if has(name, column)))
    }
    memberships = tuple(
        one for one in ownership.memberships if has(one.table, one.user) and has(one.table, one.organisation)
    )
    owned = frozenset(name for name in ownership.owned if name in catalog.relations)
    texts = frozenset(name for name in ownership.text_tables if name in catalog.relations)
    return Ownership(owners, memberships, owned, ownership.text_ids, texts)


def can_be_user(column: Column | None) -> bool:
    """Whether the column's type can hold user ids."""
    return column is not None and not column.computed and (column.type == "uuid" or column.type in TEXTS)


def snake(name: str) -> str:
    """userId and "User ID" as user_id."""
    return re.sub(r"[\s-]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)).lower()


def _owner_columns(table: Relation, tables: Mapping[str, Relation]) -> tuple[str, ...]:
    eligible = [column for column in table.columns if can_be_user(column)]
    expressions = [text for policy in table.policies for text in (policy.using, policy.check)]
    by_policies = {one for text in expressions for one in compared(text, table, tables)}
    if held := tuple(column.name for column in eligible if (table.name, column.name) in by_policies):
        return held
    to_users = [
        reference.columns[0]
        for reference in table.references
        if len(reference.columns) == 1
        and _USERS_TABLE.search(reference.parent)
        and reference.parent != table.name
        and can_be_user(table.column(reference.columns[0]))
        and can_be_user(tables[reference.parent].column(reference.referenced[0]))
    ]
    if to_users:
        return tuple(dict.fromkeys(to_users))
    for names in USER_NAMES:
        if named := [column.name for column in eligible if names.search(snake(column.name))]:
            return (named[0],)
    return ()


def _compared_types(tables: Mapping[str, Relation]) -> dict[str, tuple[set[str], set[str]]]:
    """Table → the types of the columns that its policies compare with the subject, and the tables they look up."""
    found = {}
    for name, table in tables.items():
        if table.platform:
            continue
        expressions = [text for policy in table.policies for text in (policy.using, policy.check)]
        columns = (tables[of].column(column) for text in expressions for of, column in compared(text, table, tables))
        types = {column.type.removesuffix("[]") for column in columns if column is not None}
        found[name] = (types, {one for text in expressions for one in looked_up(text)} & tables.keys())
    return found


def _text_tables(
    seen: Mapping[str, tuple[set[str], set[str]]], relations: Mapping[str, Relation], *, unseen: bool
) -> set[str]:
    """Tables and views whose policies, and those of the tables that they look up, compare the subject with a text.
    `unseen` where they compare it with nothing that can be read, as where a function does it."""
    found = set()
    for name, relation in relations.items():
        types, known, waiting = set[str](), set[str](), [name, *relation.reads]
        while waiting:
            if (at := waiting.pop()) not in known and at in seen:
                known.add(at)
                types |= seen[at][0]
                waiting += seen[at][1]
        if bool(types & TEXTS) if types else unseen:
            found.add(name)
    return found


def _propagate(tables: Mapping[str, Relation], owners: dict[str, tuple[str, ...]]) -> None:
    """Columns that an owner column refers to hold user ids as well."""
    changed = True
    while changed:
        changed = False
        for name, columns in list(owners.items()):
            for reference in tables[name].references:
                if len(reference.columns) != 1 or reference.columns[0] not in columns:
                    continue
                parent, column = reference.parent, reference.referenced[0]
                if (
                    parent in tables
                    and column not in owners.get(parent, ())
                    and can_be_user(tables[parent].column(column))
                ):
                    owners[parent] = (*owners.get(parent, ()), column)
                    changed = True


def _memberships(tables: Mapping[str, Relation], owners: Mapping[str, tuple[str, ...]]) -> Iterable[Membership]:
    policies = {name: " ".join(p.using + p.check for p in table.policies) for name, table in tables.items()}
    for name, columns in owners.items():
        table = tables[name]
        bare = name.partition(".")[2]
        if table.platform:
            continue
        for column in table.columns:
            if column.name in columns:
                continue
            parent = next((r.parent for r in table.references if r.columns == (column.name,)), None)
            groups = bool(_ORGANISATION.search(snake(column.name)))
            if parent is None and not groups:
                continue
            for user in columns:
                paired = any(frozenset({user, column.name}) <= key for key in table.keys)
                asked = any(
                    re.search(rf"\b{re.escape(bare)}\b", text) for other, text in policies.items() if other != name
                )
                if _MEMBERSHIP.search(snake(bare)) or (paired and (groups or asked)):
                    yield Membership(name, user, column.name)


def _owned(
    tables: Mapping[str, Relation],
    owners: Mapping[str, tuple[str, ...]],
    memberships: Iterable[Membership],
    nobodys: Iterable[str],
) -> set[str]:
    """Tables with owner columns, organisations of memberships, and whatever refers to any of these."""
    owned = set(owners)
    for membership in memberships:
        for reference in tables[membership.table].references:
            if reference.columns == (membership.organisation,):
                owned.add(reference.parent)
    apart = set(nobodys)
    changed = True
    while changed:
        changed = False
        for name, table in tables.items():
            if name in owned or name in apart:
                continue
            if table.partition or any(reference.parent in owned - {name} for reference in table.references):
                # A partition's foreign keys count as its root's.
                if table.partition and not any(r.parent in owned for r in table.references):
                    continue
                owned.add(name)
                changed = True
    return owned - apart
