"""Phase 1: a legacy database with years of rows, a legacy server, and people at work."""

from __future__ import annotations

from toolkit.migrate.run.api import migrate_up
from toolkit.postgres.connection import connected
from toolkit.rehearse.stage.diary import Findings
from toolkit.rehearse.stage.populate import ODD_USER, OTHER_APPLICATION, USERS, Population, build, populate
from toolkit.rehearse.stage.stage import Stage
from toolkit.rehearse.traffic.legacy_traffic import LegacyTraffic
from toolkit.rehearse.traffic.reader import Reading
from toolkit.rehearse.traffic.user_generation import Gate, UserGeneration, legacy_generation
from toolkit.report.record import Table
from toolkit.targets.target import Target

START_DEADLINE_S = 60.0


async def run(stage: Stage, found: Findings) -> None:
    """Start the legacy system: its rows, its traffic, and a server called `legacy`, all left at work."""
    size = stage.options.size
    stage.say("applying the legacy schema")
    applied = await migrate_up(stage.dsn, stage.migrations, to=stage.legacy_version)
    found.check(
        "schema",
        "The legacy schema is applied",
        applied.ok,
        stage.chosen.described,
        "Read the failed statement.",
        [str(step.failure) for step in applied.steps if step.failure],
    )
    await _populate(stage, found)
    assert stage.population is not None

    stage.say("starting the legacy server")
    server = await stage.embedded.start_server("legacy", roles=("api",), transport="websocket", env=stage.writer_env())
    traffic = stage.traffic = LegacyTraffic(server.url, stage.dsn, stage.population.owned)
    people = [f"user_live_{number}" for number in range(1, size.legacy_users + 1)]
    target = stage.target(server)

    async def generate(person: UserGeneration) -> None:
        await legacy_generation(target, person)

    traffic.start(people, generate, _readings(stage, stage.population), size.readers)
    stage.say(f"{size.legacy_users} people, {size.readers} readers and another application at work")
    await traffic.until(
        lambda: (
            any(generation.good for generation in traffic.generations)
            and len(traffic.in_flight()) >= min(2, size.legacy_users)
        ),
        "one article was finished and others are under way",
        START_DEADLINE_S,
    )
    await _hold(stage, target)
    baseline = stage.clock.now() + size.baseline_s
    await traffic.until(lambda: stage.clock.now() >= baseline, "the baseline", size.baseline_s + 30)
    finished = [generation for generation in traffic.generations if generation.ended is not None]
    bad = [str(generation) for generation in finished if not generation.good]
    found.check(
        "works",
        "The legacy system writes articles over its WebSocket",
        not bad,
        f"{len(finished)} articles finished, {len(traffic.in_flight())} under way",
        f"Read {server.log_path.name} in the run's logs.",
        bad,
    )


async def _hold(stage: Stage, target: Target) -> None:
    """Start two generations that wait at a prompt during the migration: one user looks at it, one has closed the
    tab."""
    assert stage.traffic is not None
    for user, gate in (("user_asked", Gate()), ("user_away", Gate(leaves=True))):

        async def generate(generation: UserGeneration, gate: Gate = gate) -> None:
            await legacy_generation(target, generation, gate)

        stage.held.append(gate)
        stage.traffic.hold(UserGeneration(user, "websocket"), generate)
    await stage.traffic.until(
        lambda: all(gate.reached.is_set() for gate in stage.held),
        "two processes wait for their users",
        START_DEADLINE_S,
    )


async def _populate(stage: Stage, found: Findings) -> None:
    stage.say(f"inserting {stage.options.size.processes} processes")
    population = stage.population = build(stage.options.size.processes, stage.options.seed)
    async with connected(stage.dsn, "toolkit rehearse") as conn:
        await populate(conn, population)
    counts = population.per_status()
    totals = {table: len(rows) for table, rows in population.rows.items()}
    found.check(
        "populated",
        "Processes in every status, articles, users and an organisation",
        all(counts.values()) and all(totals.values()),
        f"{population.processes} processes of {len(population.users)} users in {len(counts)} statuses, "
        f"{totals['articles']} articles, {totals['organization_members']} organisation members",
    )
    found.tables.append(
        Table("Legacy processes", ("status", "rows"), tuple((name, str(n)) for name, n in counts.items()), found.group)
    )
    found.measure("processes", population.processes, "rows")


def _readings(stage: Stage, population: Population) -> list[Reading]:
    """What the readers ask for: each user's list, and a selection of single processes, those with unusual values
    first."""
    people = (*USERS, ODD_USER)
    tokens = {user: stage.token(user) for user in (*people, OTHER_APPLICATION)}
    state = [row for row in population.rows["generated_articles_state"] if row["user_id"] in tokens]
    chosen = [*state[:16], *state[16 :: max(1, len(state) // 40)]]
    singles = [Reading(f"/api/articles/generation/{row['id']}", tokens[row["user_id"]]) for row in chosen]
    lists = [Reading("/api/articles/generation?limit=50", tokens[user]) for user in people]
    return [*lists, *singles]
