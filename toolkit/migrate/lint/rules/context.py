"""What rules look at: the folder's files, the schema they leave, and questions that several rules ask. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from toolkit.migrate.folder.project_mode import ProjectMode
from toolkit.migrate.lint.reading.code import Code, called, relations
from toolkit.migrate.lint.reading.facts import DefaultPrivileges, Fact, Privileges
from toolkit.migrate.lint.reading.names import Name
from toolkit.migrate.lint.reading.schema import Routine, Schema, after
from toolkit.migrate.lint.reading.sources import Folder

REALTIME = "supabase_realtime"  # the publication that Supabase Realtime reads
EXPOSED = frozenset({"public", "graphql_public"})
_CLIENTS = {"anon", "authenticated", "public"}


@dataclass(frozen=True)
class Context:
    """A folder, the schemas that the project's API serves, and whether what is new there is open to its roles."""

    folder: Folder
    exposed: frozenset[str] = EXPOSED
    mode: ProjectMode = "old"

    @cached_property
    def facts(self) -> tuple[Fact, ...]:
        """What all migrations state, in the order they apply; rollbacks are not among them."""
        return tuple(fact for source in self.folder.ups for fact in source.facts)

    @cached_property
    def schema(self) -> Schema:
        """What the migrations leave."""
        return after(self.facts, Schema(default_anon=self.mode == "old"))

    def open_to_clients(self, table: Name) -> bool:
        """Whether anon, authenticated or everybody holds a privilege on a table of `public`: by default privileges, or
        by a GRANT of the folder. A later REVOKE is not looked for."""
        if self.mode == "old":
            return True
        return any(fact.given and _CLIENTS & set(fact.roles) and _covers(fact, table) for fact in self._given)

    @cached_property
    def _given(self) -> list[Privileges | DefaultPrivileges]:
        return [fact for fact in self.facts if isinstance(fact, Privileges | DefaultPrivileges)]

    def called(self, code: Code) -> list[Routine]:
        """Functions of the folder that an expression or a body calls, all overloads of a name."""
        names = called(code)
        return [routine for (name, _), routine in self.schema.functions.items() if name in names]

    def reads(self, code: Code) -> set[Name]:
        """Tables that an expression's subselects read under the row security of the caller: directly, and through the
        functions it calls that run with the caller's rights."""
        found = relations(code)
        seen: set[int] = set()
        waiting = [code]
        while waiting:
            for routine in self.called(waiting.pop()):
                if not routine.definer and id(routine) not in seen:
                    seen.add(id(routine))
                    found |= relations(routine.function.body.pieces)
                    waiting.append(routine.function.body.pieces)
        return found


def _covers(fact: Privileges | DefaultPrivileges, table: Name) -> bool:
    if isinstance(fact, DefaultPrivileges):
        return fact.kind == "tables" and (not fact.schemas or table.schema in fact.schemas)
    return fact.kind == "table" and (table.schema in fact.all_in or any(name == table for name, _ in fact.objects))
