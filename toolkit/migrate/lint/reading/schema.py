"""What a folder leaves behind: its facts, one after the other, folded into tables, policies, functions and views. Pure.

Only what is left at the end is held against the rules: a hole that a later file closes is none any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from toolkit.migrate.lint.reading.facts import (
    AlterFunction,
    AlterPolicy,
    AlterTable,
    AlterView,
    Column,
    Create,
    CreateIndex,
    CreateTable,
    DefaultPrivileges,
    Drop,
    DropPolicy,
    Dynamic,
    Fact,
    ForeignKey,
    Function,
    Policy,
    Privileges,
    Publication,
    Rename,
    Shape,
    Trigger,
    View,
)
from toolkit.migrate.lint.reading.findings import At
from toolkit.migrate.lint.reading.names import Name
from toolkit.migrate.lint.reading.tables import joined

API_ROLES = ("anon", "authenticated")


@dataclass
class Table:
    """A table that the folder creates. `identity` is the last replica identity that was set, and where."""

    name: Name
    at: At
    shape: Shape
    rls: bool = False
    rls_at: At | None = None
    identity: tuple[str, At] | None = None
    policy_dropped: At | None = None

    def column(self, name: str) -> Column | None:
        """The column of this name."""
        return next((column for column in self.shape.columns if column.name == name), None)


@dataclass
class Routine:
    """A function as it is at the end; who may execute it beyond its owner and the roles it is granted to."""

    function: Function
    definer: bool
    search_path: bool
    public: bool
    anon: bool

    @property
    def label(self) -> str:
        """`schema.name(types)`."""
        return f"{self.function.name}({', '.join(self.function.arguments)})"


@dataclass
class Relation:
    """A view. `closed` are the API roles from which it was taken back, `opened` those it was granted to, `shown` those
    that got SELECT alone and by the view's name, as a dump never writes it."""

    view: View
    invoker: bool
    closed: set[str] = field(default_factory=set)
    opened: set[str] = field(default_factory=set)
    shown: set[str] = field(default_factory=set)


@dataclass
class Schema:
    """The end of a folder. `members` are the published tables and where each was added, `lost` the published tables
    that were dropped and made anew without being added again, `swept` the tables whose policies a statement built at
    run time may have dropped, and where."""

    tables: dict[Name, Table] = field(default_factory=dict)
    row_security: dict[Name, tuple[bool, At]] = field(default_factory=dict)
    policies: dict[tuple[Name, str], Policy] = field(default_factory=dict)
    functions: dict[tuple[Name, tuple[str, ...]], Routine] = field(default_factory=dict)
    views: dict[Name, Relation] = field(default_factory=dict)
    triggers: dict[tuple[Name, str], Trigger] = field(default_factory=dict)
    indexes: list[CreateIndex] = field(default_factory=list)
    members: dict[Name, At] = field(default_factory=dict)
    lost: dict[Name, At] = field(default_factory=dict)
    dynamic: list[Dynamic] = field(default_factory=list)
    swept: dict[Name, At] = field(default_factory=dict)
    column_grants: set[Name] = field(default_factory=set)
    update_revoked: set[Name] = field(default_factory=set)
    default_public: bool = True
    default_anon: bool = True

    def may(self, what: str, name: Name, *, verb: str = "") -> bool:
        """Whether a statement built at run time can have done this to that object."""
        return any(built.does(what, verb=verb) and built.concerns(name) for built in self.dynamic)

    def policies_of(self, table: Name) -> list[Policy]:
        """The policies of one table."""
        return [policy for (on, _), policy in self.policies.items() if on == table]

    def has_rls(self, table: Name) -> bool:
        """Whether row security was switched on, as far as the folder tells."""
        return self.row_security.get(table, (False, None))[0]


def after(facts: Iterable[Fact], schema: Schema | None = None) -> Schema:
    """The schema that these facts, in this order, leave of an empty one, or make of `schema`."""
    schema = schema or Schema()
    for fact in facts:
        _apply(schema, fact)
    return schema


def _apply(s: Schema, fact: Fact) -> None:
    match fact:
        case CreateTable() if fact.kept and not (fact.if_not_exists and fact.name in s.tables):
            s.tables[fact.name] = Table(fact.name, fact.at, fact.shape)
        case AlterTable():
            _alter_table(s, fact)
        case CreateIndex():
            s.indexes.append(fact)
        case Policy():
            s.policies[fact.table, fact.name] = fact
            s.swept.pop(fact.table, None)
        case AlterPolicy():
            _alter_policy(s, fact)
        case DropPolicy():
            if s.policies.pop((fact.table, fact.name), None) and fact.table in s.tables:
                s.tables[fact.table].policy_dropped = fact.at
        case Function():
            _function(s, fact)
        case AlterFunction():
            _alter_function(s, fact)
        case View():
            known = s.views.get(fact.name)
            s.views[fact.name] = (
                replace(known, view=fact, invoker=fact.invoker) if known else Relation(fact, fact.invoker)
            )
        case AlterView() if fact.name in s.views and fact.invoker is not None:
            s.views[fact.name].invoker = fact.invoker
        case Trigger():
            s.triggers[fact.table, fact.name] = fact
        case Publication():
            _publication(s, fact)
        case Privileges():
            _privileges(s, fact)
        case DefaultPrivileges() if fact.kind in {"functions", "routines"} and set(fact.verbs) & {"all", "execute"}:
            s.default_public = fact.given if "public" in fact.roles else s.default_public
            s.default_anon = fact.given if "anon" in fact.roles else s.default_anon
        case Drop():
            _drop(s, fact)
        case Rename() if fact.name in s.views:
            s.views[Name(fact.name.schema, fact.new)] = s.views.pop(fact.name)
        case Dynamic():
            s.dynamic.append(fact)
            if fact.does("policy", verb="drop") and not fact.does("policy", verb="create"):
                _sweep(s, fact)
        case Create():
            pass


def _sweep(s: Schema, fact: Dynamic) -> None:
    """A loop over policies takes those of the tables that it names, or of all."""
    guarded = {table for table, _ in s.policies}
    named = {table for table in guarded if table.name in fact.words or any(table.name in text for text in fact.texts)}
    for table in named or {table for table in guarded if fact.concerns(table)}:
        s.swept[table] = fact.at


def _alter_table(s: Schema, fact: AlterTable) -> None:
    if fact.action.endswith("row level security") and "force" not in fact.action:
        s.row_security[fact.name] = (fact.action.startswith("enable"), fact.at)
    if fact.action in {"rename to", "set schema"}:
        old = fact.name
        new = Name(fact.subject, old.name) if fact.action == "set schema" else Name(old.schema, fact.subject)
        _move(s, fact.name, new)
        return
    table = s.tables.get(fact.name)
    if table is None:
        return
    if fact.action.startswith("replica identity"):
        table.identity = (fact.action.removeprefix("replica identity "), fact.at)
    elif fact.action.startswith("add "):
        table.shape = joined(table.shape, fact.shape)
    elif fact.action == "drop column":
        columns = tuple(column for column in table.shape.columns if column.name != fact.subject)
        key = () if fact.subject in table.shape.primary_key else table.shape.primary_key
        table.shape = replace(table.shape, columns=columns, primary_key=key)
    elif fact.action == "drop constraint" and fact.subject == f"{fact.name.name}_pkey":
        table.shape = replace(table.shape, primary_key=())
    elif fact.action == "drop constraint" or fact.action.startswith("rename"):
        # Which key, and what is called what now, is no longer known for certain.
        table.shape = replace(table.shape, others=True)


def _move(s: Schema, old: Name, new: Name) -> None:
    if (table := s.tables.pop(old, None)) is not None:
        table.name = new
        s.tables[new] = table
    if old in s.row_security:
        s.row_security[new] = s.row_security.pop(old)
    for key in [key for key in s.policies if key[0] == old]:
        s.policies[new, key[1]] = replace(s.policies.pop(key), table=new)
    for key in [key for key in s.triggers if key[0] == old]:
        s.triggers[new, key[1]] = replace(s.triggers.pop(key), table=new)
    if old in s.members:
        # The publication follows the table under its new name; whatever takes the old name is not in it.
        s.members[new] = s.members.pop(old)
        s.lost[old] = s.members[new]
    if new in s.lost and new in s.members:
        del s.lost[new]


def _alter_policy(s: Schema, fact: AlterPolicy) -> None:
    old = s.policies.get((fact.table, fact.name))
    if old is None:
        return
    new = replace(
        old,
        name=fact.renamed or old.name,
        roles=fact.roles or old.roles,
        using=old.using if fact.using is None else fact.using,
        check=old.check if fact.check is None else fact.check,
    )
    del s.policies[fact.table, fact.name]
    s.policies[fact.table, new.name] = new


def _function(s: Schema, fact: Function) -> None:
    known = s.functions.get((fact.name, fact.arguments))
    s.functions[fact.name, fact.arguments] = Routine(
        fact,
        fact.definer,
        fact.search_path,
        known.public if known else s.default_public,
        known.anon if known else s.default_anon,
    )


def _routines(s: Schema, name: Name, arguments: tuple[str, ...] | None) -> list[Routine]:
    """The routines that a statement means. Where types are spelt in a way that matches none, all of that name."""
    named = {key: routine for key, routine in s.functions.items() if key[0] == name}
    if arguments is not None and (name, arguments) in named:
        return [named[name, arguments]]
    return [r for key, r in named.items() if arguments is None or len(key[1]) == len(arguments)]


def _alter_function(s: Schema, fact: AlterFunction) -> None:
    for routine in _routines(s, fact.name, fact.arguments):
        routine.definer = routine.definer if fact.definer is None else fact.definer
        routine.search_path = routine.search_path if fact.search_path is None else fact.search_path
        if fact.renamed:
            old = routine.function
            renamed = replace(old, name=Name(old.name.schema, fact.renamed))
            s.functions.pop((old.name, old.arguments), None)
            routine.function = renamed
            s.functions[renamed.name, renamed.arguments] = routine


def _publication(s: Schema, fact: Publication) -> None:
    if fact.action in {"create", "add"}:
        for table in fact.tables:
            s.members[table] = fact.at
            s.lost.pop(table, None)
    elif fact.action == "set":
        s.members = dict.fromkeys(fact.tables, fact.at)
    elif fact.action == "drop":
        for table in fact.tables:
            s.members.pop(table, None)
    elif fact.action == "gone":
        s.members.clear()


def _privileges(s: Schema, fact: Privileges) -> None:
    if fact.kind in {"function", "procedure", "routine"} and set(fact.verbs) & {"all", "execute"}:
        targets = [r for key, r in s.functions.items() if key[0].schema in fact.all_in]
        for name, arguments in fact.objects:
            targets += _routines(s, name, arguments)
        for routine in targets:
            routine.public = fact.given if "public" in fact.roles else routine.public
            routine.anon = fact.given if "anon" in fact.roles else routine.anon
    if fact.kind == "table":
        _table_privileges(s, fact)


def _table_privileges(s: Schema, fact: Privileges) -> None:
    names = [name for name, _ in fact.objects] + [name for name in s.views if name.schema in fact.all_in]
    for name in names:
        if fact.columns and fact.given and "update" in fact.verbs:
            s.column_grants.add(name)
        if not fact.given and not fact.columns and set(fact.verbs) & {"all", "update"}:
            s.update_revoked.add(name)
        elif fact.given and not fact.columns and set(fact.verbs) & {"all", "update"}:
            s.update_revoked.discard(name)
        if (relation := s.views.get(name)) is None or not set(fact.verbs) & {"all", "select"}:
            continue
        roles = set(fact.roles)
        relation.closed = relation.closed - roles if fact.given else relation.closed | roles
        relation.opened = relation.opened | roles if fact.given else relation.opened - roles
        if not fact.given:
            relation.shown -= roles
        elif fact.verbs == ("select",) and not fact.all_in:
            relation.shown |= roles


def _drop(s: Schema, fact: Drop) -> None:
    for name in fact.names:
        if fact.kind == "table":
            _drop_table(s, name)
        elif fact.kind in {"view", "materialized view"}:
            s.views.pop(name, None)
        elif fact.kind in {"function", "procedure", "routine"}:
            # Which overload is not read here; a rule would rather know too little than accuse what is gone.
            for key in [key for key in s.functions if key[0] == name]:
                del s.functions[key]
        elif fact.kind == "index":
            s.indexes = [index for index in s.indexes if index.name != name]
        elif fact.kind == "trigger" and fact.on is not None:
            s.triggers.pop((fact.on, name.name), None)
        elif fact.kind == "schema":
            for table in [table for table in s.tables if table.schema == name.name]:
                _drop_table(s, table)
            s.functions = {key: value for key, value in s.functions.items() if key[0].schema != name.name}
            s.views = {key: value for key, value in s.views.items() if key.schema != name.name}


def _drop_table(s: Schema, name: Name) -> None:
    s.tables.pop(name, None)
    s.row_security.pop(name, None)
    s.policies = {key: value for key, value in s.policies.items() if key[0] != name}
    s.triggers = {key: value for key, value in s.triggers.items() if key[0] != name}
    s.indexes = [index for index in s.indexes if index.table != name]
    if name in s.members:
        s.lost[name] = s.members.pop(name)
    for table in s.tables.values():
        kept = tuple(key for key in table.shape.foreign_keys if key.target != name)
        table.shape = replace(table.shape, foreign_keys=kept)


def references_to(s: Schema, target: Name) -> list[tuple[Table, ForeignKey]]:
    """Foreign keys of the folder's tables that point to `target`."""
    return [(t, key) for t in s.tables.values() for key in t.shape.foreign_keys if key.target == target]
