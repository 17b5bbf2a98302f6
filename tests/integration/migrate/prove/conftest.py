"""A subject of a proof in a few lines: a folder's files, and the state they start from."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from toolkit.migrate import Options
from toolkit.migrate.folder.files import read_folder
from toolkit.migrate.prove.subject.claims import Claim, Outcome, ProveOptions, Subject
from toolkit.migrate.prove.subject.states import States
from toolkit.migrate.run.locks import LockPolicy
from toolkit.migrate.scratch.databases import Scratch, scratch_on
from toolkit.migrate.scratch.platform import prepare_platform
from toolkit.migrate.scratch.start import read_statements, run_as_either
from toolkit.postgres.cluster import MIGRATOR, PostgresCluster
from toolkit.postgres.connection import connected

SubjectOf = Callable[..., Awaitable[Subject]]


@pytest.fixture(scope="session")
async def scratch(cluster: PostgresCluster) -> AsyncIterator[Scratch]:
    """Scratch databases on the run's own cluster."""
    async with scratch_on(cluster.admin_dsn(), MIGRATOR, throwaway=True) as made:
        yield made


@dataclass
class _Bare:
    template: str = ""


@pytest.fixture(scope="session")
def bare_template() -> _Bare:
    return _Bare()


@pytest.fixture
async def subject_of(scratch: Scratch, bare_template: _Bare, tmp_path: Path) -> AsyncIterator[SubjectOf]:
    """`await subject_of({"1_a.sql": …, "rollbacks/1_a.sql": …}, start="create table …", rows_each=5)`.

    `files` may also be a folder that exists. The start is a bare Supabase project plus the statements of `start`.
    Further keywords are those of ProveOptions; `versions` limits what is proved.
    """
    numbers = itertools.count(1)
    before = set(scratch._made)
    if not bare_template.template:
        bare_template.template = await scratch.create()
        async with connected(scratch.admin(bare_template.template)) as conn:
            await prepare_platform(conn)
        before.add(bare_template.template)

    async def make(
        files: dict[str, str] | Path, *, start: str = "", versions: tuple[str, ...] = (), **options: object
    ) -> Subject:
        folder = files if isinstance(files, Path) else tmp_path / f"migrations{next(numbers)}"
        for name, text in files.items() if isinstance(files, dict) else ():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        template = await scratch.create(bare_template.template)
        if start:
            async with connected(scratch.dsn(template)) as conn, connected(scratch.admin(template)) as admin:
                for statement in read_statements(start, "start"):
                    await run_as_either(conn, admin, statement)
        contents = read_folder(folder)
        chosen = replace(ProveOptions(rows_each=5), **options)  # type: ignore[arg-type]
        everything = tuple(migration.version for migration in contents.migrations)
        impatient = LockPolicy(lock_timeout_ms=50, first_pause_s=0.02, longest_pause_s=0.1, deadline_s=5)
        states = States(
            scratch,
            template,
            contents,
            everything,
            rows_each=chosen.rows_each,
            options=Options(locks=impatient, export_dir=tmp_path / "exports"),
        )
        return Subject(contents, versions or everything, states, chosen)

    yield make
    for name in sorted(set(scratch._made) - before):
        await scratch.drop(name)


def refuted(outcome: Outcome) -> list[Claim]:
    """The claims that do not hold."""
    return [claim for claim in outcome.claims if claim.violations]


def said(outcome: Outcome) -> str:
    """Every violation, for assertions on their wording."""
    return "\n".join(line for claim in outcome.claims for line in claim.violations)
