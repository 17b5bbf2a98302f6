"""click as the toolkit uses it: options under headings, examples, durations.

Everything stays in click's own structures, so that the reference is made from the commands themselves: an option has a
`group`, a command `examples`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from toolkit.durations import format_duration, parse_duration

F = TypeVar("F", bound=Callable[..., Any])
TARGET, LIMITS = "Target options", "Limits"
_OPTIONS = "Options"
# Columns for the names of options; longer ones have a line of their own.
_NAMES = 32


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions
    """`500ms`, `10s`, `5m`, `1h`, `7d` → seconds, between `least` and `most` of them."""

    name = "duration"

    def __init__(self, least: float = 0.001, most: float = float("inf")) -> None:
        self.least, self.most = least, most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds; a default given as a number is in seconds already. Fails with what to write instead."""
        if isinstance(value, int | float):
            return float(value)
        try:
            seconds = parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if seconds < self.least:
            self.fail(f"{value} is too short: at least {format_duration(self.least)}.", param, ctx)
        if seconds > self.most:
            self.fail(f"{value} is too long: at most {format_duration(self.most)}.", param, ctx)
        return seconds


class Option(click.Option):
    """An option that help shows under the heading `group`."""

    def __init__(self, *args: Any, group: str = _OPTIONS, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.group = group

    def get_help_extra(self, ctx: click.Context) -> click.types.OptionHelpExtra:
        """As click's, without the range: the error of a value outside names it. A duration is shown with its unit."""
        extra = super().get_help_extra(ctx)
        extra.pop("range", None)
        if "default" in extra and isinstance(self.default, float):
            of_time = isinstance(self.type, Duration)
            extra["default"] = format_duration(self.default) if of_time else f"{self.default:g}"
        return extra


class Command(click.Command):
    """A command whose help lists its own options, then the other groups, then examples."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.examples = tuple(examples)
        if examples and not self.epilog:
            heading = "Examples:" if len(examples) > 1 else "Example:"
            self.epilog = "\n".join(("\b", heading, *(f"  {line}" for line in examples)))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each group of options under its heading."""
        groups: dict[str, list[tuple[str, str]]] = {_OPTIONS: []}
        for one in self.get_params(ctx):
            if not isinstance(one, click.Argument) and (record := one.get_help_record(ctx)) is not None:
                groups.setdefault(getattr(one, "group", _OPTIONS), []).append(record)
        for heading, records in groups.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records, col_max=_NAMES)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the epilog at the margin, as a section like the others."""
        if self.epilog:
            formatter.write_paragraph()
            formatter.write_text(self.epilog)


class Group(click.Group):
    """A group that lists its commands in the order in which they were added: the order of work."""

    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names in that order."""
        return list(self.commands)


def option(*names: str, **attributes: Any) -> Callable[[F], F]:
    """As click.option, for an `Option`."""
    return click.option(*names, cls=Option, **attributes)


def toolkit_command(name: str, *, examples: Sequence[str] = ()) -> Callable[[Callable[..., Any]], Command]:
    """As click.command, for a `Command`."""
    return click.command(name, cls=Command, examples=examples)


json_option = option("--json", "as_json", is_flag=True, help="Print the report as JSON on stdout.")
