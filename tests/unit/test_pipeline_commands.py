"""--format and --output mean the same in every command of a pipeline, and the workflow calls commands that exist."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

from toolkit.cli import toolkit
from toolkit.commands.init.ci import WORKFLOW
from toolkit.commands.migrate import command as migrate

COMMANDS = ("lint", "prove", "verify", "drift")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CI", raising=False)
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "1_a.sql").write_text("select 1;\n\ncreate table public.t (id integer);\n")
    return tmp_path


@pytest.mark.parametrize("name", COMMANDS)
def test_each_has_both_options(name: str) -> None:
    found = {option for parameter in migrate.commands[name].params for option in parameter.opts}
    assert {"--format", "--output", "--json"} <= found


def test_one_run_prints_annotations_and_writes_each_form_with_the_code_of_text(project: Path) -> None:
    runner = CliRunner()
    plain = runner.invoke(migrate, ["lint"])
    files = {name: project / "out" / name for name in ("l.sarif", "l.xml", "l.json", "l.md", "l.html")}
    words = [word for path in files.values() for word in ("--output", str(path))]
    done = runner.invoke(migrate, ["lint", "--format", "github", *words])
    assert (plain.exit_code, done.exit_code) == (1, 1), done.output
    assert "::error file=migrations/1_a.sql,line=3,title=" in done.output
    (first, *_) = json.loads(files["l.sarif"].read_text())["runs"][0]["results"]
    assert first["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "migrations/1_a.sql"
    assert json.loads(files["l.json"].read_text())["verdict"] == "fail"
    assert "<failure" in files["l.xml"].read_text()
    assert all(path.stat().st_size for path in files.values())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--json", "--format", "sarif"), "exclude each other"),
        (("--output", "x.txt"), "its suffix says no form"),
        (("--output", "migrations/1_a.sql/x.xml"), "cannot be written"),
    ],
)
def test_what_makes_no_sense_is_refused(project: Path, words: tuple[str, ...], told: str) -> None:
    done = CliRunner().invoke(migrate, ["lint", *words])
    assert done.exit_code != 0
    assert told in f"{done.output}{getattr(done.exception, 'what', '')}"


def test_a_run_without_a_result_leaves_no_empty_file(project: Path) -> None:
    CliRunner().invoke(migrate, ["lint", "--migrations", "nowhere", "--output", "x.xml"])
    assert not (project / "x.xml").exists()


def test_the_workflow_is_written_once_and_its_commands_exist(project: Path) -> None:
    runner = CliRunner()
    assert runner.invoke(toolkit, ["init", "ci"]).exit_code == 0
    before = WORKFLOW.read_text()
    again = runner.invoke(toolkit, ["init", "ci"])
    assert "is there already" in f"{again.output}{getattr(again.exception, 'what', '')}"
    assert WORKFLOW.read_text() == before
    (job,) = yaml.safe_load(before)["jobs"].values()
    assert job["env"]["FOLDER"] == "migrations"
    called = []
    for line in (step["run"] for step in job["steps"] if step.get("run", "").startswith("toolkit ")):
        _, group, name, *words = shlex.split(line.replace("$FOLDER", "migrations").replace("$GITHUB_BASE_REF", "main"))
        assert group == "migrate"
        found = migrate.commands[name]
        found.parse_args(click.Context(found), list(words))
        called.append(name)
    assert tuple(called) == COMMANDS


@pytest.mark.parametrize("name", ["a b", "a$(x)", "../elsewhere"])
def test_a_folder_that_a_workflow_would_misread_is_refused(project: Path, name: str) -> None:
    (project / name).mkdir(exist_ok=True)
    done = CliRunner().invoke(toolkit, ["init", "ci", "--migrations", name])
    assert done.exit_code != 0
    assert not WORKFLOW.exists()
