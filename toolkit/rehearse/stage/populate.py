"""The rows of the rehearsal's legacy database: every kind that years of use leave behind, always the same for a
seed."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import orjson

from toolkit.contract.prompts import BY_STEP
from toolkit.contract.statuses import Status
from toolkit.contract.steps import STEPS, Kind, Step
from toolkit.errors import EnvironmentError_
from toolkit.postgres.connection import Connection

USERS = ("user_aoi", "user_ben", "user_chika", "user_dana", "user_emi")
# User ids are texts, in whatever form the identity provider gives them.
ODD_USER = 'auth0|o\'brien "ü"; --'
OTHER_APPLICATION = "user_other_application"
MEMBERS = (("user_aoi", "owner"), ("user_ben", "admin"), ("user_chika", "member"), (ODD_USER, "member"))
WRITER_ROWS = 8
# A process that its owner paused before the migration, on a step on which only old servers rest.
PAUSED_USER = "user_paused"
PAUSED_ROWS = 2
# A process that its row calls in progress, although the server that worked on it is gone.
ABANDONED_ROWS = 1
ARTICLE_EVERY = 2  # share of the completed processes that have an article
_EPOCH = datetime(2025, 1, 6, 9, 0, tzinfo=UTC)
_NAMESPACE = uuid.UUID("6f1a7f0e-3a55-4d0a-9a0c-6d2c1f6f5b11")

Row = dict[str, Any]

_WORK = [step for step, info in STEPS.items() if info.kind is Kind.WORK]
_GATES = [step for step, info in STEPS.items() if info.kind is Kind.GATE]
_TRANSIENT = [step for step, info in STEPS.items() if info.kind is Kind.TRANSIENT]
# The steps on which a process may rest in each status. Transient steps are there because older servers left them.
_RESTS: dict[Status, list[Step]] = {
    Status.IN_PROGRESS: _WORK + _TRANSIENT,
    Status.USER_INPUT_REQUIRED: _GATES,
    Status.PAUSED: _GATES + _WORK + _TRANSIENT,
    Status.COMPLETED: [Step.COMPLETED],
    Status.ERROR: [Step.ERROR, *_WORK],
    Status.CANCELLED: _WORK + _GATES,
    Status.RESUMING: _WORK + _TRANSIENT,
    Status.AUTO_PROGRESSING: _WORK,
}


@dataclass(frozen=True)
class Population:
    """Rows by table, parents first.

    `owned`: the state rows that another application keeps writing. `paused` and `abandoned`: those whose users come
    back after the migration.
    """

    rows: dict[str, list[Row]]
    owned: tuple[uuid.UUID, ...]
    paused: tuple[uuid.UUID, ...]
    abandoned: tuple[uuid.UUID, ...]
    organization_id: uuid.UUID

    @property
    def processes(self) -> int:
        """The state rows, those of the other application included."""
        return len(self.rows["generated_articles_state"])

    @property
    def users(self) -> tuple[str, ...]:
        """The users who own a process."""
        return tuple(sorted({row["user_id"] for row in self.rows["generated_articles_state"]}))

    def per_status(self) -> dict[str, int]:
        """Status → number of processes in it."""
        counts = dict.fromkeys((status.value for status in Status), 0)
        for row in self.rows["generated_articles_state"]:
            counts[row["status"]] += 1
        return counts


def build(processes: int, seed: int = 4711) -> Population:
    """At least `processes` state rows over every status, with articles, placeholders, users and an organisation."""
    assert processes >= len(Status), "every status needs a row"
    # A seeded generator, so that rows are reproducible; nothing here is a secret.
    chance = random.Random(seed)  # noqa: S311
    organization = _id(seed, "organization")
    template = _id(seed, "template")
    flow = _id(seed, "flow")
    rows: dict[str, list[Row]] = {
        "organizations": [
            {"id": organization, "name": "株式会社サンプル", "owner_user_id": "user_aoi", **_stamps(0)},
            {"id": _id(seed, "empty"), "name": "", "owner_user_id": ODD_USER, **_stamps(1)},
        ],
        "organization_members": [
            {"organization_id": organization, "user_id": user, "role": role, "joined_at": _EPOCH}
            for user, role in MEMBERS
        ],
        "style_guide_templates": [
            {
                "id": template,
                "user_id": "user_aoi",
                "organization_id": organization,
                "name": "ですます調",
                "settings": _json({"tone": "polite", "emoji": False}),
                "created_at": _EPOCH,
            }
        ],
        "article_generation_flows": [
            {
                "id": flow,
                "organization_id": organization,
                "user_id": "user_ben",
                "name": "Short flow",
                "is_template": False,
                "created_at": _EPOCH,
            }
        ],
        "flow_steps": [
            {
                "id": _id(seed, "step", number),
                "flow_id": flow,
                "step_order": number,
                "step_type": kind,
                "is_interactive": kind == "theme_proposal",
            }
            for number, kind in enumerate(("keyword_analysis", "theme_proposal", "section_writing"), 1)
        ],
        "generated_articles_state": [],
        "articles": [],
        "image_placeholders": [],
    }
    state = rows["generated_articles_state"]
    statuses = list(Status)
    for number in range(processes):
        row = _process(seed, number, statuses[number % len(statuses)], chance)
        if number % 5 == 0:
            row |= {"organization_id": organization, "style_template_id": template}
        if number % 7 == 0:
            row |= {"flow_id": flow, "current_step_id": _id(seed, "step", 1 + number % 3)}
        state.append(row)
        if row["status"] == Status.COMPLETED and (number // len(statuses)) % ARTICLE_EVERY == 0:
            article = _article(seed, number, row)
            row["article_id"] = article["id"]
            rows["articles"].append(article)
            rows["image_placeholders"].extend(_placeholders(seed, number, row, article))
    for row, oddity in zip(state, _oddities(), strict=False):
        row.update(oddity)
    owned = tuple(_id(seed, "owned", number) for number in range(WRITER_ROWS))
    for process_id in owned:
        row = _process(seed, 0, Status.IN_PROGRESS, chance)
        state.append(row | {"id": process_id, "user_id": OTHER_APPLICATION})
    paused = tuple(_id(seed, "paused", number) for number in range(PAUSED_ROWS))
    abandoned = tuple(_id(seed, "abandoned", number) for number in range(ABANDONED_ROWS))
    for process_id in (*paused, *abandoned):
        status = Status.PAUSED if process_id in paused else Status.IN_PROGRESS
        row = _process(seed, 0, status, chance) | {"image_mode": False, "image_settings": "{}"}
        step = Step.START
        state.append(
            row
            | {
                "id": process_id,
                "user_id": PAUSED_USER,
                "current_step_name": step.value,
                "progress_percentage": STEPS[step].progress,
                "resume_from_step": step.value,
            }
        )
    return Population(rows, owned, paused, abandoned, organization)


async def populate(conn: Connection, population: Population) -> None:
    """Insert everything, in one transaction. Raises EnvironmentError_ when the schema is not the legacy one."""
    try:
        async with conn.transaction():
            for table, rows in population.rows.items():
                columns = list(dict.fromkeys(column for row in rows for column in row))
                await conn.copy_records_to_table(
                    table,
                    schema_name="public",
                    columns=columns,
                    records=[[row.get(column) for column in columns] for row in rows],
                    timeout=60,
                )
    except asyncpg.PostgresError as error:
        raise EnvironmentError_(
            f"The legacy schema does not take the rehearsal's rows: {error}.",
            "The migrations folder must begin with the schema as it was before the migration.",
        ) from error


# -- rows -----------------------------------------------------------------------------------------


def _process(seed: int, number: int, status: Status, chance: random.Random) -> Row:
    rests = _RESTS[status]
    step = rests[(number // len(Status)) % len(rests)]
    prompt = BY_STEP.get(step)
    waiting = status is Status.USER_INPUT_REQUIRED
    images = (number // len(Status)) % 3 == 0
    keyword = chance.choice(("家計簿", "keto diet", "転職", "ポイ活 始め方", "solar panels"))
    request = {
        "initial_keywords": [keyword, f"#{number}"],
        "target_age_group": chance.choice(("20代", "30代", "70代以上")),
        "persona_type": chance.choice(("主婦", "社会人", "学生")),
        "num_theme_proposals": 3,
        "image_mode": images,
    }
    return {
        "id": _id(seed, "process", number),
        "flow_id": None,
        "user_id": USERS[number % len(USERS)],
        "organization_id": None,
        "current_step_id": None,
        "status": status.value,
        "article_context": _json(request),
        "generated_content": _json({"sections": number % 6}) if status is Status.COMPLETED else None,
        "article_id": None,
        "error_message": f"section {number % 6} failed: 429 Too Many Requests" if status is Status.ERROR else None,
        **_stamps(number),
        "current_step_name": step.value,
        "progress_percentage": STEPS[step].progress,
        "is_waiting_for_input": waiting,
        "input_type": prompt.input_type.value if waiting and prompt else None,
        "last_activity_at": _EPOCH + timedelta(minutes=37 * number, seconds=59),
        "auto_resume_eligible": status is Status.PAUSED and number % 3 == 0,
        "resume_from_step": step.value if status in {Status.PAUSED, Status.RESUMING} else None,
        "step_history": _json([{"step_name": "start", "status": "completed", "data": {}}] * (number % 4)),
        "process_metadata": _json({"client": "web", "build": number % 9}),
        "image_mode": images,
        "image_settings": _json({"style": "photo"} if images else {}),
        "style_template_id": None,
    }


def _oddities() -> Iterator[Row]:
    """One row for each unusual value that the legacy schema allows and real data may hold."""
    yield {"user_id": ODD_USER}
    yield {"current_step_name": None}
    yield {"article_context": _json({"initial_keywords": ["長い"], "notes": "あ" * 20_000})}
    yield {"generated_content": "null"}
    yield {"article_id": uuid.UUID(int=1)}  # no such article exists: the column never had a foreign key
    yield {"progress_percentage": 999, "status": Status.CANCELLED.value}
    yield {"progress_percentage": -5, "status": Status.ERROR.value}
    yield {"error_message": "quote ' backslash \\ tab \t newline \n emoji 🦊"}
    yield {"is_waiting_for_input": True, "input_type": "select_persona", "status": Status.PAUSED.value}
    yield {
        "created_at": datetime(1999, 12, 31, 23, 59, 59, 999999, UTC),
        "updated_at": datetime(2999, 1, 1, tzinfo=UTC),
    }
    yield {"step_history": _json([{"step_name": f"s{n}", "status": "retry", "data": {"n": n}} for n in range(400)])}
    yield {"user_id": "", "article_context": "{}"}
    yield {"input_type": "edit_generic"}
    yield {"process_metadata": _json({"nested": {"deep": [None, True, 1e300, {"": ""}]}})}


def _article(seed: int, number: int, process: Row) -> Row:
    return {
        "id": _id(seed, "article", number),
        "user_id": process["user_id"],
        "organization_id": process.get("organization_id"),
        "generation_process_id": process["id"],
        "title": f"記事 {number}",
        "content": f"<h1>記事 {number}</h1>" + "<p>本文 &amp; text</p>" * (number % 20),
        "keywords": ["家計", f"k{number}"] if number % 3 else [],
        "target_audience": None if number % 5 == 0 else f"{20 + number % 5}代",
        "status": ("draft", "published", "archived")[number % 3],
        **_stamps(number),
    }


def _placeholders(seed: int, number: int, process: Row, article: Row) -> list[Row]:
    return [
        {
            "id": _id(seed, "placeholder", number, part),
            "article_id": article["id"],
            "generation_process_id": process["id"],
            "placeholder_id": f"img_{part}",
            "description_jp": "家計簿をつける人",
            "prompt_en": "a person keeping a household account book",
            "alt_text": None,
            "status": ("pending", "uploaded", "generated", "replaced")[part],
            "created_at": _EPOCH,
        }
        for part in range(4 if process["image_mode"] else 0)
    ]


def _stamps(number: int) -> Row:
    created = _EPOCH + timedelta(minutes=37 * number)
    return {"created_at": created, "updated_at": created + timedelta(seconds=number % 3600)}


def _id(seed: int, *parts: object) -> uuid.UUID:
    return uuid.uuid5(_NAMESPACE, "/".join(map(str, (seed, *parts))))


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
