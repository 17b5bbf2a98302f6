"""How long a proof takes: our own migrations, and a generated folder of 200 tables in 30 migrations.

Baseline: the same folder applied once to a fresh database by the runner. `-k own` or `-k grown` chooses one.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support.big_folder import write_big_folder
from toolkit.migrate import Options, migrate_up
from toolkit.migrate.folder.files import read_folder
from toolkit.migrate.prove.run import PROOFS, prove
from toolkit.migrate.prove.subject.claims import ProveOptions, Subject
from toolkit.migrate.prove.subject.states import States
from toolkit.migrate.scratch.databases import embedded_scratch
from toolkit.migrate.scratch.start import empty_project
from toolkit.postgres.servers import wheel_bin_dir
from toolkit.report.record import Verdict
from toolkit.resources import migrations_dir


async def measure(folder: Path, exports: Path) -> None:
    contents = read_folder(folder)
    versions = tuple(migration.version for migration in contents.migrations)
    async with embedded_scratch(wheel_bin_dir()) as scratch:
        start = await empty_project(scratch)
        name = await scratch.create(start.template)
        begun = time.monotonic()
        applied = await migrate_up(scratch.dsn(name), read_folder(folder))
        baseline = time.monotonic() - begun
        assert applied.ok
        options = ProveOptions()
        states = States(
            scratch,
            start.template,
            contents,
            versions,
            rows_each=options.rows_each,
            options=Options(export_dir=exports),
        )
        begun = time.monotonic()
        found = await prove(Subject(contents, versions, states, options))
        taken = time.monotonic() - begun
    print(f"\n{folder.name}: {len(versions)} migrations, baseline (applied once by the runner) {baseline:.2f} s")
    for proof in PROOFS:
        seconds = sum(one.seconds for one in found if one.proof is proof)
        print(f"  {proof.name:<12} {seconds:8.2f} s   ×{seconds / baseline:7.1f}")
    claims = [claim for one in found for claim in one.outcome.claims]
    levels = {level: sum(claim.level == level for claim in claims) for level in ("proved", "sampled", "not checked")}
    print(f"  {'all':<12} {taken:8.2f} s   ×{taken / baseline:7.1f}   {len(claims)} claims: {levels}")
    for claim in claims:
        if claim.verdict is not Verdict.PASS:
            print(f"  {claim.verdict}: {claim.id}: {claim.basis} {claim.violations[:2]}")
    assert not any(claim.violations for claim in claims)


@pytest.mark.timeout(1200)
async def test_own(tmp_path: Path) -> None:
    await measure(migrations_dir(), tmp_path)


@pytest.mark.timeout(3600)
async def test_grown(tmp_path: Path) -> None:
    await measure(write_big_folder(tmp_path / "two-hundred-tables"), tmp_path)
