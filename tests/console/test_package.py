"""The package as somebody installs it: strict types, ES modules, and no framework in its core."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

from tests.console.conftest import node, npm

_USE = """
import { Recovery, ProcessEventStream, apply, EMPTY_STATE } from 'article-generation-realtime'
const effects: readonly { kind: string }[] = new Recovery().start(0)
const step: string | null = EMPTY_STATE.currentStep
export { effects, step, apply, ProcessEventStream }
"""
_RUN = """
import { Recovery } from 'article-generation-realtime'
console.log(JSON.stringify(new Recovery().start(0)))
"""


def test_its_types_are_strict(package: Path) -> None:
    npm("tsc", "--noEmit", cwd=package)


def test_the_consoles_built_files_are_those_of_its_sources(package: Path, tmp_path: Path) -> None:
    npm("vite", "build", "--logLevel", "error", "--outDir", str(tmp_path / "built"), cwd=package)
    built = {file.name: file.read_text() for file in (tmp_path / "built").iterdir()}
    kept = {file.name: file.read_text() for file in (package / "static").iterdir()}
    assert built.keys() == kept.keys()
    stale = [name for name in kept if built[name] != kept[name]]
    assert not stale, "run `make console` and commit reference_server/console/static"


def test_the_packed_package_is_used_without_react(package: Path, tmp_path: Path) -> None:
    copy = tmp_path / "package"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("node_modules", "dist", "tests"))
    (copy / "node_modules").symlink_to(package / "node_modules")
    npm("npm", "pack", "--silent", "--pack-destination", str(tmp_path), cwd=copy)
    [packed] = tmp_path.glob("*.tgz")

    app = tmp_path / "app"
    installed = app / "node_modules" / "article-generation-realtime"
    with tarfile.open(packed) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    installed.parent.mkdir(parents=True)
    (tmp_path / "unpacked" / "package").rename(installed)
    # Its one dependency beside it; react is not there.
    (app / "node_modules" / "@supabase").symlink_to(package / "node_modules" / "@supabase")
    (app / "node_modules" / "tslib").symlink_to(package / "node_modules" / "tslib")
    (app / "package.json").write_text('{"type": "module"}')
    (app / "run.js").write_text(_RUN)
    assert node("run.js", cwd=app)[0] == {"kind": "connect", "epoch": 1}
    (app / "use.ts").write_text(_USE)
    npm(
        "tsc", "--noEmit", "--strict", "--module", "nodenext", "--target", "es2024", "--skipLibCheck", "use.ts", cwd=app
    )
