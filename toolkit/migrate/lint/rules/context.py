"""What rules look at: the folder's files, the schema they leave, and questions that several rules ask. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from toolkit.migrate.lint.reading.facts import Fact
from toolkit.migrate.lint.reading.reader import Name, relations
from toolkit.migrate.lint.reading.schema import Routine, Schema, after
from toolkit.migrate.lint.reading.sources import Folder
from toolkit.migrate.lint.reading.tokens import Tokens

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

    def called(self, tokens: Tokens) -> list[Routine]:
        """Functions of the folder that an expression calls, all overloads of a name."""
        names = set()
        for position, token in enumerate(tokens):
            if token.is_name and position + 1 < len(tokens) and tokens[position + 1].mark("("):
                qualified = position > 1 and tokens[position - 1].mark(".") and tokens[position - 2].is_name
                names.add(Name(tokens[position - 2].text if qualified else "public", token.text))
        return [routine for (name, _), routine in self.schema.functions.items() if name in names]

    def reads(self, tokens: Tokens) -> set[Name]:
        """Tables that an expression's subselects read under the row security of the caller: directly, and through the
        functions it calls that run with the caller's rights."""
        found = {name for name, _ in relations(tokens)}
        seen: set[int] = set()
        waiting = [tokens]
        while waiting:
            for routine in self.called(waiting.pop()):
                if not routine.definer and id(routine) not in seen:
                    seen.add(id(routine))
                    found |= {name for name, _ in relations(routine.function.body)}
                    waiting.append(routine.function.body)
        return found
