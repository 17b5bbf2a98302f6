"""What rules look at: the folder's files, the schema they leave, and questions that several rules ask. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from toolkit.migrate.lint.reading.code import Code, called, relations
from toolkit.migrate.lint.reading.facts import Fact
from toolkit.migrate.lint.reading.names import Name
from toolkit.migrate.lint.reading.schema import Routine, Schema, after
from toolkit.migrate.lint.reading.sources import Folder

REALTIME = "supabase_realtime"  # the publication that Supabase Realtime reads
EXPOSED = frozenset({"public", "graphql_public"})


@dataclass(frozen=True)
class Context:
    """A folder and the schemas that the project's API serves."""

    folder: Folder
    exposed: frozenset[str] = EXPOSED

    @cached_property
    def facts(self) -> tuple[Fact, ...]:
        """What all migrations state, in the order they apply; rollbacks are not among them."""
        return tuple(fact for source in self.folder.ups for fact in source.facts)

    @cached_property
    def schema(self) -> Schema:
        """What the migrations leave."""
        return after(self.facts)

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
