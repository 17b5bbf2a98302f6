"""Functions: whether a call finds one, and which; those with their owner's rights are in definers.py."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.migrate.lint.reading.code import calls
from toolkit.migrate.lint.reading.facts import AlterFunction, Create, Drop, Function
from toolkit.migrate.lint.reading.findings import At, LintFinding, Rule, Severity
from toolkit.migrate.lint.reading.names import Name, of_parts
from toolkit.migrate.lint.reading.schema import Routine
from toolkit.migrate.lint.rules.context import Context
from toolkit.sql.parse import strings

SEARCH_PATH = Rule(
    "function-without-search-path",
    Severity.INFO,
    "A function does not fix its search_path",
    "Its names mean what the caller's search_path makes of them: a trigger fired by another role or a dump that is "
    "restored finds other tables, or none.",
    "Add `set search_path = ''` and qualify the names in the body.",
)
AMBIGUOUS = Rule(
    "overload-ambiguous",
    Severity.ERROR,
    "A call fits two overloads",
    "Arguments that one overload can leave out make a call with fewer of them fit both: every such call fails with "
    "`function … is not unique` (42725), and PostgREST answers 300.",
    "Drop the old signature in the same file, or give the new function another name.",
)
LEFT_BEHIND = Rule(
    "overload-left-behind",
    Severity.WARNING,
    "CREATE OR REPLACE with other arguments makes a second function",
    "The old one stays, with its body, its grants and its callers.",
    "Drop the old signature first, or write CREATE without OR REPLACE where a second one is meant.",
)
LOSES_SETTINGS = Rule(
    "replace-loses-settings",
    Severity.WARNING,
    "CREATE OR REPLACE leaves out what the function had",
    "SECURITY DEFINER and `set search_path` are part of the definition: what is not repeated is gone, and the function "
    "runs with other rights or finds other tables from then on.",
    "Repeat them, or say in a suppression why they are given up.",
)
UNKNOWN_CALL = Rule(
    "calls-unknown-function",
    Severity.INFO,
    "A function or trigger calls a function that the folder never makes",
    "PL/pgSQL looks for it when the line runs, so the migration applies and the first caller gets 42883.",
    "Correct the name, or create it in a migration: a fresh database does not have what was made outside the folder.",
)
RULES = (
    SEARCH_PATH,
    AMBIGUOUS,
    LEFT_BEHIND,
    LOSES_SETTINGS,
    UNKNOWN_CALL,
)
_LANGUAGES = ("sql", "plpgsql")


def look(context: Context) -> Iterator[LintFinding]:
    """Findings about functions."""
    schema = context.schema
    for routine in schema.functions.values():
        function = routine.function
        pinned = routine.search_path or schema.may("search_path", function.name)
        if not pinned and not routine.definer and function.language in _LANGUAGES:
            yield SEARCH_PATH.found(function.at, f"{routine.label} takes its caller's")
    yield from _ambiguous(list(schema.functions.values()))
    yield from _left_behind(context)
    yield from _loses_settings(context)
    yield from _unknown_calls(context)


def _ambiguous(routines: list[Routine]) -> Iterator[LintFinding]:
    for position, one in enumerate(routines):
        for other in routines[:position]:
            count = _both_take(one.function, other.function) if one.function.name == other.function.name else None
            if count is not None:
                what = f"{one.label} and {other.label} both take a call with {count} arguments"
                yield AMBIGUOUS.found(one.function.at, what)


def _both_take(one: Function, other: Function) -> int | None:
    """With how many arguments of the same types a call fits both. Postgres then chooses neither, also when one of them
    needs no default for it."""
    fewest = max(len(f.arguments) - f.defaults for f in (one, other))
    if fewest > min(len(one.arguments), len(other.arguments)):
        return None
    if fewest == 0 and one.arguments and other.arguments:
        return None  # a call that leaves everything out, which nobody writes
    return fewest if one.arguments[:fewest] == other.arguments[:fewest] else None


def _left_behind(context: Context) -> Iterator[LintFinding]:
    alive: dict[Name, list[Function]] = {}
    left = {(r.function.name, r.function.arguments) for r in context.schema.functions.values()}
    for fact in context.facts:
        if isinstance(fact, Function):
            known = alive.get(fact.name, [])
            # Overloads that one file makes are meant; and types alone differ where that is the point of them.
            elsewhere = [f for f in known if f.at.file != fact.at.file and len(f.arguments) != len(fact.arguments)]
            kept = [f for f in elsewhere if (f.name, f.arguments) in left]
            if fact.replace and kept and all(f.arguments != fact.arguments for f in known):
                counts = len(fact.arguments), len(kept[-1].arguments)
                what = f"{fact.name} with {counts[0]} arguments stands beside one with {counts[1]}"
                yield LEFT_BEHIND.found(fact.at, what)
            alive.setdefault(fact.name, []).append(fact)
        elif isinstance(fact, Drop) and fact.kind in {"function", "procedure", "routine"}:
            for name in fact.names:
                alive.pop(name, None)


def _loses_settings(context: Context) -> Iterator[LintFinding]:
    has: dict[tuple[Name, tuple[str, ...]], tuple[bool, bool]] = {}
    for fact in context.facts:
        if isinstance(fact, Function):
            definer, search_path = has.get((fact.name, fact.arguments), (False, False))
            lost = [
                word
                for word, had, still in (
                    ("SECURITY DEFINER", definer, fact.definer),
                    ("its search_path", search_path, fact.search_path),
                )
                if had and not still
            ]
            if fact.replace and lost:
                yield LOSES_SETTINGS.found(fact.at, f"{fact.name} had {' and '.join(lost)}")
            has[fact.name, fact.arguments] = (fact.definer, fact.search_path)
        elif isinstance(fact, AlterFunction):
            for key in [key for key in has if key[0] == fact.name and fact.arguments in {None, key[1]}]:
                definer, search_path = has[key]
                has[key] = (
                    definer if fact.definer is None else fact.definer,
                    search_path if fact.search_path is None else fact.search_path,
                )
        elif isinstance(fact, Drop) and fact.kind in {"function", "procedure", "routine"}:
            for key in [key for key in has if key[0] in fact.names]:
                del has[key]


def _unknown_calls(context: Context) -> Iterator[LintFinding]:
    made = {fact.name for fact in context.facts if isinstance(fact, Function)}
    made |= {Name(f.name.schema, f.renamed) for f in context.facts if isinstance(f, AlterFunction) and f.renamed}
    if any(isinstance(fact, Create) and fact.kind in {"extension", "aggregate"} for fact in context.facts):
        return  # what these bring along is not in the folder
    schemas = {name.schema for name in made} & context.exposed  # one without any has its functions from elsewhere
    # Types can be called too: a composite's name with parentheses is a cast.
    made |= {fact.name for fact in context.facts if isinstance(fact, Create)} | set(context.schema.tables)
    for routine in context.schema.functions.values():
        for call, line in calls(routine.function.body.pieces):
            parts = strings(call.funcname)
            name = of_parts(parts)
            if len(parts) > 1 and name.schema in schemas and name not in made:
                yield UNKNOWN_CALL.found(At(routine.function.at.file, line), f"{routine.label} calls {name}")
    for trigger in context.schema.triggers.values():
        if trigger.function.schema in schemas and trigger.function not in made:
            yield UNKNOWN_CALL.found(trigger.at, f"trigger {trigger.name} of {trigger.table} calls {trigger.function}")
