"""Options, hooks and fixtures. Every pytest run loads this, so all that is heavy is imported when it is used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from toolkit import extras
from toolkit.errors import ToolkitError

if TYPE_CHECKING:
    from toolkit.pytest.stage import Stage
    from toolkit.targets.target import Target

_SHIPPED = "shipped"
_TRANSPORTS = ("realtime", "websocket")
_ADDRESSES = {"api_url": "API_URL", "supabase_url": "SUPABASE_URL", "database_url": "DATABASE_URL"}
_STAGE = pytest.StashKey["Stage"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("toolkit", "realtime-migration-toolkit")
    group.addoption(
        "--toolkit-scenarios",
        metavar="DIR",
        nargs="?",
        const=_SHIPPED,
        help="Also run each scenario (*.yaml, *.yml) of DIR as a test, on each transport it is written for. "
        "Without =DIR: the scenarios that come with the toolkit.",
    )
    group.addoption(
        "--toolkit-transport",
        choices=_TRANSPORTS,
        help="Run scenarios on this transport only.",
    )
    group.addoption(
        "--toolkit-proofs",
        metavar="DIR",
        nargs="?",
        const=_SHIPPED,
        help="Also prove the migrations of DIR, each proof of each version as a test. Without =DIR: those that come "
        "with the toolkit.",
    )
    group.addoption(
        "--toolkit-migrations",
        metavar="DIR",
        help="The migrations that `toolkit_scratch_database` has. Default: those of --toolkit-proofs, else those that "
        "come with the toolkit.",
    )
    group.addoption(
        "--toolkit-target",
        choices=("embedded", "external"),
        default="embedded",
        help="Where scenarios and `toolkit_target` are. external: the system that the toolkit's settings (environment, "
        "toolkit.toml) describe; its data is changed. Default: embedded.",
    )
    for name, variable in _ADDRESSES.items():
        flag = "--toolkit-" + name.replace("_", "-")
        group.addoption(flag, metavar="URL", help=f"{variable} of the external target.")
    group.addoption(
        "--toolkit-reports-dir",
        metavar="DIR",
        help="Each run of a scenario makes a folder of its own here. Default: a folder of pytest's own.",
    )


def pytest_configure(config: pytest.Config) -> None:
    for line in (
        "toolkit_scenario: a scenario that --toolkit-scenarios collected",
        "toolkit_proof: a proof that --toolkit-proofs collected",
        "xdist_group(name): which tests one worker of pytest-xdist runs",
    ):
        config.addinivalue_line("markers", line)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Before others choose among the items (-k, -m, --deselect), those that were asked for join them."""
    scenarios, proofs = config.getoption("toolkit_scenarios"), config.getoption("toolkit_proofs")
    if not scenarios and not proofs:
        return
    stage = _stage(config)
    from toolkit.pytest.items import MigrationsFolder, ScenarioFile

    if scenarios:
        transport = config.getoption("toolkit_transport")
        folder = _folder(config, scenarios, "scenarios", "--toolkit-scenarios")
        files = sorted(path for path in folder.iterdir() if path.suffix in {".yaml", ".yml"})
        if not files:
            raise pytest.UsageError(
                f"--toolkit-scenarios: {folder} holds no scenario.\n"
                "  → Give the folder that holds *.yaml or *.yml files."
            )
        for path in files:
            file = ScenarioFile.from_parent(
                session,
                path=path,
                nodeid=f"scenarios/{path.name}",
                stage=stage,
                transports=frozenset({transport} if transport else _TRANSPORTS),
            )
            items += session.genitems(file)
    if proofs:
        migrations = _folder(config, proofs, "migrations", "--toolkit-proofs")
        proved = MigrationsFolder.from_parent(
            session, name=migrations.name, nodeid="proofs", stage=stage, migrations=migrations
        )
        items += session.genitems(proved)


def pytest_unconfigure(config: pytest.Config) -> None:
    if (stage := config.stash.get(_STAGE, None)) is not None:
        stage.close()


@pytest.fixture(scope="session")
def toolkit_target(pytestconfig: pytest.Config) -> Target:
    """A system to talk to, ready: an embedded one of this session, or the external one."""
    stage = _stage(pytestconfig)
    with _in_words():
        return stage.run(stage.target())


@pytest.fixture
def toolkit_scratch_database(pytestconfig: pytest.Config) -> Iterator[str]:
    """The URL of a database of this test's own: an empty Supabase project with every migration applied.

    Once a session it is proved that the migrations replay, and roll back to exactly what was before.
    """
    stage = _stage(pytestconfig)
    chosen = pytestconfig.getoption("toolkit_migrations") or pytestconfig.getoption("toolkit_proofs") or _SHIPPED
    with _in_words():
        opened = stage.scratch_database(_folder(pytestconfig, chosen, "migrations", "--toolkit-migrations"))
        dsn = stage.run(opened.__aenter__())
    yield dsn
    stage.run(opened.__aexit__(None, None, None))


class _in_words:
    """An error of ours is the test's error in words, without a traceback."""

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ToolkitError):
            raise pytest.fail.Exception(f"{error.what}\n  → {error.remedy}", pytrace=False) from None


def _stage(config: pytest.Config) -> Stage:
    """The stage of this session. Raises UsageError of pytest when the extra is missing or a setting is wrong."""
    if _STAGE not in config.stash:
        try:
            extras.require("pytest", "The pytest plugin of the toolkit")
            from toolkit.pytest.stage import Stage

            given = {name: config.getoption(f"toolkit_{name}") for name in _ADDRESSES}
            runs_dir = config.getoption("toolkit_reports_dir")
            config.stash[_STAGE] = Stage(
                config.getoption("toolkit_target"), given, Path(runs_dir) if runs_dir else _own_folder(config)
            )
        except ToolkitError as error:
            raise pytest.UsageError(f"{error.what}\n  → {error.remedy}") from None
    return config.stash[_STAGE]


def _own_folder(config: pytest.Config) -> Path:
    return Path(config._tmp_path_factory.mktemp("toolkit-runs"))  # type: ignore[attr-defined]


def _folder(config: pytest.Config, chosen: str, kind: str, option: str) -> Path:
    from toolkit import resources

    if chosen == _SHIPPED:
        return resources.scenarios_dir() if kind == "scenarios" else resources.migrations_dir()
    folder = config.invocation_params.dir / chosen
    if not folder.is_dir():
        raise pytest.UsageError(f"{option}: {folder} is no folder.\n  → Give the folder that holds the {kind}.")
    return folder
