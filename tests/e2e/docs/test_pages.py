"""Every page of the documentation, typed as a reader would: its files written, its commands run, in one shell a page.

A page begins in an empty folder with a reader's project in it (reader/). Where it neither starts nor stops a system
itself, the one that serves all pages is at `.toolkit/embedded`, the default of every command.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.documentation import PAGES, ROOT, Command, Written, commands, name_of, steps

MODULES = ROOT / "tests" / "js" / "node_modules"  # the official JavaScript client
READER = Path(__file__).parent / "reader"
DEADLINE_S = 240  # of a page, on a machine that is busy with other things
_BIN = Path(sys.executable).parent
_STARTS_OR_STOPS = re.compile(r"toolkit (up(?! --env)|down)\b")
_PAGES = [page for page in PAGES if any(command.run for command in commands(page.read_text(), name_of(page)))]

pytestmark = [pytest.mark.xdist_group("documentation"), pytest.mark.timeout(DEADLINE_S + 60)]


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data folder of an embedded target that serves every page which does not make its own."""
    data = tmp_path_factory.mktemp("docs") / "embedded"
    typed("toolkit", "up", "--data", str(data))
    try:
        yield data
    finally:
        typed("toolkit", "down", "--data", str(data))


def typed(*words: str) -> str:
    """The output of a command that must succeed."""
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def environment() -> dict[str, str]:
    """As a reader's shell after `source .venv/bin/activate`, without any target of this machine."""
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR", "TOOLKIT_CACHE_DIR") if name in os.environ}
    return kept | {"PATH": f"{_BIN}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "100", "PYTHONUTF8": "1"}


@pytest.mark.parametrize("page", _PAGES, ids=name_of)
def test_every_command_of_a_page_does_what_the_page_says(
    page: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    todo = [step for step in steps(page.read_text(), name_of(page)) if can_be_done(step)]
    folder = tmp_path / "reader"
    shutil.copytree(READER, folder)
    (folder / ".toolkit").mkdir()
    if MODULES.exists():
        (folder / "node_modules").symlink_to(MODULES)
    own = folder / ".toolkit" / "embedded"
    shares = not any(isinstance(s, Command) and s.run and _STARTS_OR_STOPS.search(s.text) for s in todo)
    if shares:
        own.symlink_to(request.getfixturevalue("serving"))
    script = tmp_path / "page.sh"
    script.write_text(script_of(todo))
    try:
        done, output = run(script, folder)
    finally:
        if not shares and own.exists():
            typed("toolkit", "down", "--data", str(own))
    judge(todo, done, output)


def can_be_done(step: Command | Written) -> bool:
    """Whether the program is here; these need not be."""
    if isinstance(step, Written):
        return True
    program = step.text.split()[0]
    return MODULES.exists() if program == "node" else program not in {"psql", "curl"} or bool(shutil.which(program))


def script_of(todo: list[Command | Written]) -> str:
    """A shell script that does it all, prints where it is, and stops at the first command that ends otherwise."""
    lines = []
    for number, step in enumerate(todo):
        if isinstance(step, Written):
            path = shlex.quote(step.path)
            lines += [f"mkdir -p $(dirname {path})", f"cat > {path} <<'THE_END_OF_IT'", step.text + "THE_END_OF_IT"]
        elif step.run:
            codes = "|".join(map(str, step.codes))
            lines += [step.setup, f"printf '\\n@@ {number}\\n'", step.text, "code=$?"]
            lines += [f'printf "\\n@@ {number} $code\\n"']
            lines += [f'case "$code" in {codes}) ;; *) exit 1;; esac']
    return "\n".join([*lines, "exit 0", ""])


def run(script: Path, folder: Path) -> tuple[dict[int, int], dict[int, str]]:
    """Exit codes and outputs by the number of the step."""
    shell = subprocess.Popen(
        ["bash", str(script)],
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        told, _ = shell.communicate(timeout=DEADLINE_S)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGTERM)
        told, _ = shell.communicate(timeout=30)
    parts = re.split(r"\n@@ (\d+)(?: (\d+))?\n", told)
    codes, output = {}, {}
    for number, code, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        if code:
            codes[int(number)] = int(code)
        else:
            output[int(number)] = text
    return codes, output


def judge(todo: list[Command | Written], codes: dict[int, int], output: dict[int, str]) -> None:
    """Every command ended as it should, and what the page shows of its output was there."""
    for number, step in enumerate(todo):
        if isinstance(step, Written) or not step.run:
            continue
        said = output.get(number, "")
        if codes.get(number) not in step.codes:
            raise AssertionError(f"{step}\nended with {codes.get(number, 'nothing: it did not end')}\n{said}")
        absent = [line for line in step.shown if plain(line) not in plain(said)]
        if absent:
            raise AssertionError(f"{step}\nshows {absent}, and said\n{said}")


def plain(text: str) -> str:
    """A text without what differs from run to run: figures, white space, tokens; `…` stands for what is left out."""
    text = re.sub(r"eyJ[\w.-]+", "TOKEN", text.replace("…", ""))
    return " ".join(re.sub(r"\d+(?:[.:]\d+)*", "#", text).split())


def test_most_commands_are_run(record_property: Callable[[str, object], None]) -> None:
    shown = [command for page in PAGES for command in commands(page.read_text(), name_of(page))]
    by_run = Counter(command.run for command in shown)
    record_property("commands", f"{by_run[True]} run, {by_run[False]} only checked")
    assert by_run[True] > 2 * by_run[False], by_run


@pytest.mark.parametrize("module", ["reference_server", "reference_server.realtime"])
def test_options_of_the_server_that_are_shown_exist(module: str) -> None:
    told = typed(sys.executable, "-m", module, "--help")
    shown = [c.text for page in PAGES for c in commands(page.read_text(), name_of(page)) if f"-m {module} " in c.text]
    assert shown
    assert set(re.findall(r"--[a-z]+", " ".join(shown))) <= set(re.findall(r"--[a-z]+", told))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("```console\n$ true\n$ false\n```\n", r"page:3: false\nended with 1"),
        ("```console\n$ echo one 12.5 ms\none 3.75 ms\n$ echo one\ntwo\n```\n", r"page:4: echo one\nshows \['two'\]"),
        ('```yaml title="a/b.yaml"\nx\n```\n```console\n$ cat a/b.yaml\nx\n$ cat a/c\n```\n', "page:7: cat a/c"),
        ("<!-- docs-test: exit 1 -->\n```console\n$ true\n```\n", "page:3: true"),
        ("<!-- docs-test: setup\nexport A=5 -->\n```console\n$ echo is $A\nis 5\n$ echo is $B\nis it\n```\n", "page:6"),
    ],
)
def test_a_page_that_says_what_is_not_so_is_noticed(text: str, complaint: str, tmp_path: Path) -> None:
    todo = list(steps(text, "page"))
    script = tmp_path / "page.sh"
    script.write_text(script_of(todo))
    with pytest.raises(AssertionError, match=complaint):
        judge(todo, *run(script, tmp_path))
