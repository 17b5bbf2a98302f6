"""What statements do, as far as a rule asks. Names are resolved; every fact knows its place."""

from __future__ import annotations

from dataclasses import dataclass

from toolkit.migrate.lint.reading.code import Code
from toolkit.migrate.lint.reading.findings import At
from toolkit.migrate.lint.reading.names import Name
from toolkit.sql.bodies import Body


@dataclass(frozen=True)
class Fact:
    """Something a statement does, and where."""

    at: At


@dataclass(frozen=True)
class Unread(Fact):
    """A statement, or (`body`) what a function or DO block runs, that Postgres' grammar does not accept; `why` as
    Postgres words it."""

    why: str
    body: bool


@dataclass(frozen=True)
class ForeignKey:
    """A reference to a table; `on_delete` is the action in lower case, "" for none."""

    columns: tuple[str, ...]
    target: Name
    on_delete: str
    deferred: bool


@dataclass(frozen=True)
class Column:
    """A column as a statement defines it; `type` is spelt as `names.of_type` does."""

    name: str
    type: str


@dataclass(frozen=True)
class Shape:
    """What a CREATE TABLE or an ADD brings: columns and constraints. `keys` are primary and unique ones."""

    columns: tuple[Column, ...] = ()
    primary_key: tuple[str, ...] = ()
    uniques: tuple[tuple[str, ...], ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    others: bool = False  # LIKE, INHERITS, PARTITION OF, AS: it has more than the statement shows


@dataclass(frozen=True)
class CreateTable(Fact):
    """CREATE TABLE; `kept` is false for a temporary one."""

    name: Name
    shape: Shape
    kept: bool
    if_not_exists: bool
    partition_of: Name | None


@dataclass(frozen=True)
class AlterTable(Fact):
    """One action of an ALTER TABLE: `action` in words as rules ask for it, `subject` the column, constraint or new name
    it is about."""

    name: Name
    action: str
    subject: str = ""
    shape: Shape = Shape()
    if_exists: bool = False


@dataclass(frozen=True)
class CreateIndex(Fact):
    """CREATE INDEX; `columns` is None when it has an expression, an operator class, an order or INCLUDE."""

    name: Name | None
    table: Name
    unique: bool
    columns: tuple[str, ...] | None
    partial: bool
    method: str


@dataclass(frozen=True)
class Policy(Fact):
    """CREATE POLICY; `roles` is empty when it names none. `using` and `check` are None when not written."""

    name: str
    table: Name
    command: str
    roles: tuple[str, ...]
    using: Code | None
    check: Code | None
    permissive: bool


@dataclass(frozen=True)
class AlterPolicy(Fact):
    """ALTER POLICY; what is None or empty stays as it was. `renamed` is the new name."""

    name: str
    table: Name
    roles: tuple[str, ...]
    using: Code | None
    check: Code | None
    renamed: str = ""


@dataclass(frozen=True)
class DropPolicy(Fact):
    """DROP POLICY."""

    name: str
    table: Name
    if_exists: bool


@dataclass(frozen=True)
class Function(Fact):
    """CREATE FUNCTION or PROCEDURE. `arguments` are the types of its input arguments, `defaults` how many have one,
    `parameters` their names, "" where one has none."""

    name: Name
    arguments: tuple[str, ...]
    defaults: int
    returns: str
    definer: bool
    search_path: bool
    replace: bool
    language: str
    body: Body
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True)
class AlterFunction(Fact):
    """ALTER FUNCTION; `arguments` is None when they are not written."""

    name: Name
    arguments: tuple[str, ...] | None
    definer: bool | None
    search_path: bool | None
    renamed: str = ""


@dataclass(frozen=True)
class Privileges(Fact):
    """GRANT or REVOKE (`given` false). `kind` is table, function, schema, sequence, …; `all_in` the schemas of
    `ON ALL … IN SCHEMA`; `columns` whether it is limited to columns; `verbs` holds `all` for ALL."""

    given: bool
    verbs: tuple[str, ...]
    kind: str
    objects: tuple[tuple[Name, tuple[str, ...] | None], ...]
    all_in: tuple[str, ...]
    roles: tuple[str, ...]
    columns: bool


@dataclass(frozen=True)
class DefaultPrivileges(Fact):
    """ALTER DEFAULT PRIVILEGES; `kind` is tables, functions, sequences, …"""

    given: bool
    verbs: tuple[str, ...]
    kind: str
    schemas: tuple[str, ...]
    roles: tuple[str, ...]


@dataclass(frozen=True)
class View(Fact):
    """CREATE [MATERIALIZED] VIEW; `invoker` whether it says security_invoker, `reads` the tables it names."""

    name: Name
    materialized: bool
    invoker: bool
    replace: bool
    reads: tuple[Name, ...]


@dataclass(frozen=True)
class AlterView(Fact):
    """ALTER VIEW … SET/RESET (security_invoker): None when it is about something else."""

    name: Name
    invoker: bool | None


@dataclass(frozen=True)
class Publication(Fact):
    """CREATE, ALTER or DROP PUBLICATION. `action` is create, add, set, drop (of tables), options, rename or gone;
    `operations` are those of `publish = '…'`, None when not written."""

    name: str
    action: str
    tables: tuple[Name, ...] = ()
    all_tables: bool = False
    operations: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Trigger(Fact):
    """CREATE TRIGGER; `timing` is before, after or instead of, `events` insert, update, delete, truncate."""

    name: str
    table: Name
    timing: str
    events: tuple[str, ...]
    function: Name


@dataclass(frozen=True)
class Create(Fact):
    """CREATE of any other kind of object that has a name: type, sequence, schema, domain, extension, …"""

    kind: str
    name: Name
    replace: bool
    if_not_exists: bool = False


@dataclass(frozen=True)
class Drop(Fact):
    """DROP of named objects; `on` is the table of a trigger, policy or rule."""

    kind: str
    names: tuple[Name, ...]
    if_exists: bool
    cascade: bool
    on: Name | None = None


@dataclass(frozen=True)
class Rename(Fact):
    """ALTER <kind> … RENAME TO."""

    kind: str
    name: Name
    new: str


@dataclass(frozen=True)
class EnumValue(Fact):
    """ALTER TYPE … ADD VALUE."""

    type: Name
    value: str


@dataclass(frozen=True)
class Write(Fact):
    """A data-changing statement: insert, update, delete or truncate."""

    verb: str
    table: Name


@dataclass(frozen=True)
class Dynamic(Fact):
    """Statements that a DO block builds at run time: the texts in it, in lower case, and every name around them.

    Nobody can tell what they act on; rules take from it what makes a finding doubtful, never a finding of their own.
    """

    texts: tuple[str, ...]
    words: frozenset[str]

    def does(self, what: str, *, verb: str = "") -> bool:
        """Whether some built statement says this, behind `verb` where one is given."""
        return any(f"{verb} {what}".strip() in text for text in self.texts)

    def concerns(self, name: Name) -> bool:
        """Whether it can be about this object: it names it, or goes through the catalog."""
        return bool(self.words & _CATALOGS) or name.name in self.words or any(name.name in t for t in self.texts)


_CATALOGS = frozenset(
    {
        "pg_tables",
        "pg_class",
        "pg_proc",
        "pg_policies",
        "pg_policy",
        "tables",
        "routines",
        "pg_views",
        "pg_trigger",
        "pg_publication_tables",
        "pg_indexes",
        "pg_constraint",
        "pg_type",
        "columns",
    }
)
