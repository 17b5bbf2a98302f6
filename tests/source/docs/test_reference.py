"""What the code reads and writes is in the reference: headers, keys, names of the environment, codes, rules, judges."""

from __future__ import annotations

import ast
import dataclasses
import fnmatch
import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import click
import pytest

import reference_server.settings
import toolkit.cli
from tests.support.documentation import PAGES, ROOT, blocks, name_of
from toolkit.errors import ExitCode, UsageError
from toolkit.migrate.access import expectations
from toolkit.migrate.catalog import document
from toolkit.migrate.catalog.facts import Snapshot
from toolkit.migrate.lint import rules, squawk_rules, suppress
from toolkit.migrate.run import plan
from toolkit.migrate.verify import live_checks
from toolkit.pytest import plugin
from toolkit.report.record import Check, Report
from toolkit.scenarios import judges
from toolkit.sql import history as history_sql
from toolkit.targets.settings import HOW_TO_GET, TargetSettings

_DOCS = ROOT / "docs"
_HEADER = re.compile(r"\^?--(?:\\s\*|\[ \\t\]\*)(?:\(\?:(?P<several>[^()]+)\)|(?P<one>[a-z]+))")
_DOTTED = re.compile(r"`((?:toolkit|reference_server)(?:\.\w+)+)`")
_PATHS = re.compile(r"`((?:toolkit|reference_server|tests|docs|migrations|scenarios)/[\w./-]*)`")


@pytest.fixture(scope="module")
def generated() -> ModuleType:
    """The hook that makes pages from the code."""
    spec = importlib.util.spec_from_file_location("generated", _DOCS / "generated.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def page(name: str) -> str:
    """A page of the reference."""
    return (_DOCS / "reference" / name).read_text()


def absent(words: object, text: str) -> list[str]:
    """Those words that the text does not show in back quotes, at the beginning of one or alone."""
    shown = re.findall(r"`([^`\n]+)`", text)
    assert isinstance(words, list | tuple | set | frozenset | dict)
    return [
        str(word)
        for word in words
        if not any(re.search(rf"(?<![\w-]){re.escape(str(word))}(?![\w-])", s) for s in shown)
    ]


def headers_read(folder: Path) -> set[str]:
    """Words that the code looks for behind `--` in a comment, read off its patterns."""
    found = set()
    for path in folder.rglob("*.py"):
        for match in _HEADER.finditer(path.read_text()):
            found |= set((match["several"] or match["one"]).split("|"))
    return found


def test_every_header_that_is_read_is_explained() -> None:
    found = headers_read(ROOT / "toolkit" / "migrate")
    assert {"toolkit", "destroys", "changes", "locks", "check", "remedy"} <= found, "the patterns are not recognised"
    text = page("migration-files.md") + page("verify-files.md")
    assert [word for word in sorted(found) if f"`-- {word}:" not in text] == []


def test_a_header_is_recognised_in_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(r'A = re.compile(r"^--\s*(?:toolkit|other)\s*:"); B = re.compile(r"--[ \t]*check:")')
    assert headers_read(tmp_path) == {"toolkit", "other", "check"}


def test_every_setting_of_a_target_is_explained() -> None:
    text = page("settings.md")
    assert absent(TargetSettings.model_fields, text) == []
    assert absent([name.upper() for name in TargetSettings.model_fields], text) == []
    assert absent(HOW_TO_GET, text) == []


def environment_names(source: str) -> set[str]:
    """Names of variables that a program asks the environment for."""
    found: set[str] = set()
    if "environ" not in source and "getenv" not in source:
        return found
    for node in ast.walk(ast.parse(source)):
        asked: ast.expr | None = None
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
            asked = node.slice
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"os.environ.get", "os.getenv"} and node.args:
            asked = node.args[0]
        elif isinstance(node, ast.Compare) and ast.unparse(node.comparators[0]) == "os.environ":
            asked = node.left
        if isinstance(asked, ast.Constant) and isinstance(asked.value, str):
            found.add(asked.value)
    return found


def test_every_variable_that_is_read_is_explained() -> None:
    read = set()
    for path in [
        ROOT / "tests" / "conftest.py",
        *(p for room in ("toolkit", "reference_server") for p in (ROOT / room).rglob("*.py")),
    ]:
        read |= environment_names(path.read_text())
    assert {"LOG_LEVEL", "TOOLKIT_TEST_PG_BIN"} <= read
    assert absent(read - {"PATH", "HOME"}, page("settings.md") + page("server-settings.md")) == []


def test_a_variable_is_recognised() -> None:
    source = 'import os\nos.environ["A"]; os.environ.get("B", 1); os.getenv("C"); "D" in os.environ; os.environ[name]'
    assert environment_names(source) == {"A", "B", "C", "D"}


def test_every_setting_of_the_server_is_explained_with_its_default() -> None:
    rows = [line for line in page("server-settings.md").splitlines() if line.startswith("| `")]
    wrong = []
    for name, field in reference_server.settings.Settings.model_fields.items():
        row = next((line for line in rows if re.search(rf"`{name.upper()}`", line.split("|")[1])), None)
        default = field.default
        if row is None:
            wrong.append(f"{name.upper()} is not there")
        elif (
            isinstance(default, int | float)
            and not isinstance(default, bool)
            and f"| {default:g} |" not in row.replace(f"| {default} |", f"| {default:g} |")
        ):
            wrong.append(f"{name.upper()} is {default:g} by default: {row}")
    assert wrong == []


def test_every_exit_code_is_explained() -> None:
    rows = page("exit-codes.md")
    assert [code for code in ExitCode if f"| {int(code)} | {code.name.lower()} |" not in rows] == []
    assert [code for code in (129, 130, 141, 143) if str(code) not in rows] == []


def test_every_key_of_lint_toml_is_explained(tmp_path: Path) -> None:
    (tmp_path / "lint.toml").write_text("no_such_key = 1")
    with pytest.raises(UsageError) as refused:
        suppress.read_settings(tmp_path, ())
    known = re.findall(r"[a-z_]{3,}", refused.value.remedy.removeprefix("Known"))
    assert {"exposed_schemas", "severity", "ignore"} <= set(known)
    text = page("lint.md")
    assert [
        key for key in (*known, "rule", "files", "reason") if not re.search(rf"^\[*{key}\b", text, re.MULTILINE)
    ] == []


def test_every_word_of_expectations_is_explained() -> None:
    text = page("expectations.md")
    known = {
        name for model in (expectations._File, expectations._Rule, expectations._Member) for name in model.model_fields
    }
    assert {"owners", "expect", "columns", "user"} <= known
    assert absent(known, text) == []
    assert absent(expectations.Allowance.__args__, text) == []


def test_every_key_of_a_snapshot_is_explained() -> None:
    made = document.Document(Snapshot({}), "", "", "", datetime.now(UTC))
    assert absent(json.loads(document.as_text(made)), page("catalog.md")) == []


def test_every_table_and_column_of_the_ledger_is_explained() -> None:
    statements = [s for s in history_sql.CREATE_LEDGER if "create table" in s]
    names = {name for s in statements for name in re.findall(r"supabase_migrations\.(\w+)", s)}
    columns = {
        name
        for s in statements
        for name in re.findall(r"^\s+([a-z_]\w*) (?:bigint|text|int|uuid|timestamptz)", s, re.MULTILINE)
    }
    assert {"toolkit_events", "toolkit_journal"} <= names
    assert {"event", "sha256", "state"} <= columns
    assert absent(names | columns - {"id"}, page("history.md")) == []
    assert absent(plan.State.__args__, page("history.md")) == []


def test_every_key_of_a_report_is_explained() -> None:
    keys = [field.name for record in (Report, Check) for field in dataclasses.fields(record)]
    assert absent(keys, page("reports.md")) == []


def test_rules_judges_and_checks_are_on_their_pages(generated: ModuleType) -> None:
    made = generated.pages()
    lint = made["reference/lint-rules.md"]
    assert absent([rule.id for rule in rules.ALL], lint) == []
    assert absent([f"{squawk_rules.PREFIX}{name}" for name in squawk_rules.GRADES], lint) == []
    assert absent([judge.id for judge in judges.ALL], made["reference/judges.md"]) == []
    assert absent([check.id for check in live_checks.CHECKS], made["reference/live-checks.md"]) == []


def options(command: click.Command) -> Iterator[str]:
    """Every option that the help shows."""
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            yield from (*parameter.opts, *parameter.secondary_opts)


def test_every_command_and_option_is_on_its_page(generated: ModuleType) -> None:
    made = generated.pages()
    commands = list(generated.walk())
    assert len(commands) > 20
    for words in commands[1:]:
        text = made[f"reference/commands/{words[1]}.md"]
        command, _ = generated._found(words)
        section = text.split(f"{{#{'-'.join(words)}}}")[-1].split("\n## ")[0] if len(words) > 2 else text
        missing = [option for option in options(command) if option not in section]
        assert missing == [], " ".join(words)
        assert "--help" in section or isinstance(command, click.Group)


class _Options:
    """Stands where pytest has its parser, and keeps the options of a plugin."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def getgroup(self, *_: str) -> _Options:
        return self

    def addoption(self, name: str, **_: object) -> None:
        self.names.append(name)


def test_options_of_the_pytest_plugin_are_explained_and_those_that_are_shown_exist() -> None:
    there = _Options()
    plugin.pytest_addoption(there)  # type: ignore[arg-type]
    assert len(there.names) > 5
    text = (_DOCS / "how-to" / "pytest.md").read_text()
    assert absent(there.names, text) == []
    shown = {name for page in PAGES for name in re.findall(r"--toolkit-[a-z-]+", page.read_text())}
    assert shown <= set(there.names)


def dotted_names(text: str) -> Iterator[str]:
    """Modules and what is in them, as a page names them."""
    yield from (name for name in _DOTTED.findall(text) if name != "toolkit.toml")


def exists(name: str) -> bool:
    """Whether there is such a module, or such a thing in a module."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:end])
        if path.with_suffix(".py").is_file() or (path / "__init__.py").is_file():
            if end == len(parts):
                return True
            return len(parts) - end == 1 and hasattr(importlib.import_module(".".join(parts[:end])), parts[end])
    return False


def test_modules_and_files_that_are_named_exist() -> None:
    lost = {}
    for path in PAGES:
        text = path.read_text()
        wrong = [name for name in dotted_names(text) if not exists(name)]
        wrong += [name for name in _PATHS.findall(text) if not (ROOT / name).exists()]
        if wrong:
            lost[name_of(path)] = wrong
    assert lost == {}


def test_tests_that_are_named_exist() -> None:
    there = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    named = {name for path in PAGES for name in re.findall(r"`(?:[\w/]*/)?(test_[\w*]+\.py)`", path.read_text())}
    assert len(named) > 15
    assert [name for name in sorted(named) if not fnmatch.filter(there, name)] == []


def test_the_architecture_names_every_room() -> None:
    text = (_DOCS / "explanation" / "architecture.md").read_text()
    floors = [ROOT / floor for floor in ("toolkit", "toolkit/migrate", "reference_server", "reference_server/realtime")]
    rooms = {name_of(path.parent) for floor in floors for path in floor.glob("*/__init__.py")}
    inner = {"toolkit/migrate", "reference_server/realtime"}  # named by the rooms in them
    assert len(rooms) > 20
    assert [room for room in sorted(rooms - inner) if f"`{room}`" not in text] == []


def test_a_module_that_is_gone_is_noticed() -> None:
    names = list(dotted_names("`toolkit.cli`, `toolkit.cli.main`, `toolkit.cli.nothing`, `toolkit.gone.away`"))
    assert [exists(name) for name in names] == [True, True, False, False]


def test_python_that_is_shown_can_be_imported() -> None:
    shown = [block for path in PAGES for block in blocks(path.read_text(), name_of(path)) if block.language == "python"]
    assert len(shown) > 3
    for block in shown:
        code = compile(
            block.text, f"{block.page}:{block.line}", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        )
        imports = [node for node in code.body if isinstance(node, ast.Import | ast.ImportFrom)]
        exec(compile(ast.Module(imports, []), block.page, "exec"), {})


def test_the_docs_are_generated_from_this_checkout(generated: ModuleType) -> None:
    assert Path(sys.modules[toolkit.cli.__name__].__file__ or "").is_relative_to(ROOT)
    assert generated.pages().keys() >= {"reference/commands/migrate.md", "reference/lint-rules.md"}
