"""YAML of users' files: read within bounds, so that no file runs for ever or exhausts the stack."""

from __future__ import annotations

import yaml

DEEPEST = 50
MOST_VALUES = 100_000  # aliases counted as what they stand for


def compose(text: str) -> yaml.Node | None:
    """The tree of the one document in `text`; None for an empty one.

    Raises yaml.YAMLError, also for what is nested deeper than `DEEPEST`, for more than `MOST_VALUES` values, and for an
    alias inside of what it stands for.
    """
    _bound(text)
    return yaml.compose(text, Loader=yaml.SafeLoader)


def _bound(text: str) -> None:
    sizes: dict[str, int] = {}  # of each anchor that is complete
    open_: list[tuple[str | None, int]] = []  # the collections around, with how many values came before each
    values = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in open_):
                raise _refusal(event, f"the alias *{event.anchor} inside of what it stands for")
            values += sizes.get(str(event.anchor), 1)
        elif isinstance(event, yaml.ScalarEvent):
            values += 1
            if event.anchor is not None:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            open_.append((event.anchor, values))
            values += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_.pop()
            if anchor is not None:
                sizes[anchor] = values - before
        if len(open_) > DEEPEST:
            raise _refusal(event, f"values nested more than {DEEPEST} deep")
        if values > MOST_VALUES:
            raise _refusal(event, f"more than {MOST_VALUES:,} values, those that aliases stand for included")


def _refusal(event: yaml.Event, problem: str) -> yaml.MarkedYAMLError:
    mark = event.start_mark
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark if isinstance(mark, yaml.Mark) else None)
