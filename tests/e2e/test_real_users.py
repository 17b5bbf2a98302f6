"""Scenarios, doctor and load with users signed in through a project's auth, where no JWT secret is given."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.support.server_process import SECRET, running_server
from tests.support.standin_auth import StandIn, standin_project
from toolkit.accounts import accounts_on, read_users, way_of
from toolkit.errors import EnvironmentError_, UsageError
from toolkit.load.run import Plan, run_load
from toolkit.monitor.doctor import doctor
from toolkit.report.record import Verdict
from toolkit.scenarios.model.reading import parse
from toolkit.scenarios.run import run_scenario
from toolkit.targets.target import Target

SMALL = """
scenario: small
title: One answer, and a stranger who watches
users: [alice, bob]
watch: {bob: everything}
processes:
  article: {user: alice, answers: manual, body: {initial_keywords: [small]}}
steps:
  - {start: article, point: 1.1 Start}
  - until: article waits for select_persona
check:
  article: [no-gap, no-loss, no-duplicate, order, isolation-users]
"""


@dataclass(frozen=True)
class World:
    """A system and the front door of its project; `target` has the service_role key and no JWT secret."""

    target: Target
    project: StandIn

    async def with_users(self, file: Path, count: int) -> Target:
        """The target with a file of `count` users instead of the service_role key."""
        lines = []
        for number in range(count):
            email, password = f"tester-{number}@example.org", f"password of {number}"
            await self.project.register(email, password)
            lines.append(f'[[user]]\nemail = "{email}"\npassword = "{password}"\n')
        file.write_text("\n".join(lines), encoding="utf-8")
        return replace(self.target, service_role_key=None, users_file=str(file))


@pytest.fixture
async def world(migrated_db: str) -> AsyncIterator[World]:
    async with running_server(migrated_db) as server, standin_project(server.url, SECRET) as project:
        target = Target(
            "external",
            database_url=migrated_db,
            api_url=server.url,
            supabase_url=project.url,
            anon_key=project.anon_key,
            service_role_key=project.service_key,
        )
        yield World(target, project)


async def test_a_scenario_with_users_that_are_made_and_removed(world: World, tmp_path: Path) -> None:
    result = await run_scenario(parse(SMALL), world.target, runs_dir=tmp_path)
    assert result.verdict is Verdict.PASS, [c for c in result.report.checks if c.verdict is not Verdict.PASS]
    told = await world.project.told()
    assert (told["calls"]["create"], told["calls"]["password"], told["calls"]["delete"]) == (2, 2, 2)
    assert told["users"] == []


async def test_a_scenario_with_users_of_a_file(world: World, tmp_path: Path) -> None:
    target = await world.with_users(tmp_path / "users.toml", 2)
    result = await run_scenario(parse(SMALL), target, runs_dir=tmp_path / "runs")
    assert result.verdict is Verdict.PASS
    told = await world.project.told()
    assert told["users"] == ["tester-0@example.org", "tester-1@example.org"], "a user of the file is never removed"
    assert told["calls"]["logout"] == 2
    kept = "".join(path.read_text() for path in result.folder.iterdir())
    assert "password of" not in kept
    assert "eyJ" not in kept


async def test_the_doctor_tries_realtime_as_real_users(world: World) -> None:
    report = await doctor(world.target, may_write=True)
    by_id = {check.id: check for check in report.checks}
    assert [by_id[id].verdict for id in ("RT-4", "RT-5", "RT-6")] == [Verdict.PASS] * 3, [
        by_id[id] for id in ("RT-4", "RT-5", "RT-6")
    ]
    assert (await world.project.told())["users"] == []


async def test_the_doctor_makes_no_user_when_it_may_not_write(world: World) -> None:
    report = await doctor(world.target, may_write=False)
    assert (await world.project.told())["calls"].get("create") is None
    assert any("no test user was made" in check.detail for check in report.checks)


async def test_load_signs_its_users_in(world: World, tmp_path: Path) -> None:
    result = await run_load(Plan(users=2), world.target, reports_dir=tmp_path)
    assert result.report.verdict is not Verdict.FAIL, [c for c in result.report.checks if c.verdict is Verdict.FAIL]
    told = await world.project.told()
    assert (told["calls"]["create"], told["calls"]["delete"], told["users"]) == (3, 3, [])


async def test_load_says_how_many_users_it_needs(world: World, tmp_path: Path) -> None:
    target = await world.with_users(tmp_path / "users.toml", 2)
    with pytest.raises(UsageError, match="lists 2 users, and 3 are needed"):
        await run_load(Plan(users=2), target, reports_dir=tmp_path)


async def test_a_wrong_password_is_told_without_it(world: World, tmp_path: Path) -> None:
    target = await world.with_users(tmp_path / "users.toml", 1)
    path = tmp_path / "users.toml"
    path.write_text(path.read_text().replace("password of 0", "s3cret-and-wrong"))
    accounts = accounts_on(target, "run")
    with pytest.raises(EnvironmentError_, match=r"tester-0@example.org cannot be signed in") as refused:
        await accounts.of("alice")
    await accounts.aclose()
    assert "Invalid login credentials" in refused.value.what
    assert "s3cret" not in str(refused.value)


def test_without_any_way_to_act_as_somebody_all_are_named() -> None:
    with pytest.raises(UsageError, match="nobody to act as") as refused:
        way_of(Target("external", api_url="http://x"))
    for name in ("SUPABASE_JWT_SECRET", "SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_USERS_FILE"):
        assert name in refused.value.remedy


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "lists no user"),
        ("user = 1", "lists no user"),
        ("[[user]]\nemail = 'a'", "user 1 has no email and password"),
        ("[[user", "is not TOML"),
    ],
)
def test_a_file_of_users_that_cannot_be_used_is_explained(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "users.toml").write_text(text)
    with pytest.raises(UsageError, match=says):
        read_users(tmp_path / "users.toml")
