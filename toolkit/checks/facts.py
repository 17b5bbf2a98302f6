"""The facts that the doctor gathers about a target: frozen values, each present or Absent with a reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

from toolkit.checks.absent import Absent

T = TypeVar("T")
Fact: TypeAlias = T | Absent

NOT_GATHERED = Absent("it was not looked at")


@dataclass(frozen=True)
class Found:
    """Rows that break a rule: their number, and some of them in words."""

    count: int = 0
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Settings:
    """Which settings are present, and where to get the others."""

    missing: Mapping[str, str]


@dataclass(frozen=True)
class Key:
    """An API key: the role in it, when it expires (seconds since 1970), whether the JWT secret signed it."""

    role: str | None
    expires_at: float | None
    signed: Fact[bool]


@dataclass(frozen=True)
class Clock:
    """How many seconds another clock is ahead of ours, and the uncertainty of that in seconds."""

    ahead_s: float
    give_or_take_s: float


@dataclass(frozen=True)
class Server:
    """The Postgres server. `version` as Postgres counts: 160004; `output_plugins` as its setting lists those that may
    be used, None where any may."""

    version: int
    wal_level: str
    slots_used: int
    slots_max: int
    senders_used: int
    senders_max: int
    connections_used: int
    connections_max: int
    output_plugins: str | None = None


@dataclass(frozen=True)
class Session:
    """A connection to DATABASE_URL: its role, and whether it stays with one server process."""

    role: str
    sees_all_rows: Fact[bool]
    port: int | None
    one_backend: bool
    notified: bool


@dataclass(frozen=True)
class Slot:
    """A replication slot; `retained_bytes` of WAL cannot be removed because of it."""

    name: str
    active: bool
    temporary: bool
    retained_bytes: int
    wal_status: str


@dataclass(frozen=True)
class Migrations:
    """Versions by their state: applied, pending, edited, gap, missing_locally, interrupted, refused."""

    states: Mapping[str, str]
    invalid_indexes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TableFacts:
    """What Realtime and clients depend on in a table. `grants`: role → privileges; `readers`: roles with a SELECT
    policy; `identity_trouble`: why its updates and deletes fail once it is published, "" when they do not."""

    row_security: bool
    identity_trouble: str
    readers: frozenset[str]
    grants: Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Function:
    """A function by name: who may execute every one of its overloads, or any of them."""

    executors: frozenset[str]


@dataclass(frozen=True)
class Publication:
    """What `supabase_realtime` publishes."""

    all_tables: bool
    operations: frozenset[str]
    tables: frozenset[str]


@dataclass(frozen=True)
class Schema:
    """The catalog. `triggers`: (table, trigger) → why it does not fire, "" when it does; `publication`: None when there
    is none."""

    tables: Mapping[str, TableFacts]
    triggers: Mapping[tuple[str, str], str]
    functions: Mapping[str, Function]
    publication: Publication | None


@dataclass(frozen=True)
class EventLog:
    """The event log, without what probes and clean-up wrote."""

    events: int
    broken: Found
    behind: Found
    disagreeing: Found
    silent: Found


@dataclass(frozen=True)
class Tasks:
    """The queue. `oldest_due_s`: how long the task that is due longest has waited, None when none is due."""

    oldest_due_s: float | None
    due: int
    expired_leases: Found
    failed: Found
    last_attempt: Found
    of_ended: Found
    waiting_for_ended: Found
    listeners: int
    beating: int


@dataclass(frozen=True)
class Processes:
    """State rows that contradict themselves or the queue; each fact is absent on its own, since a legacy schema answers
    only some."""

    orphans: Fact[Found]
    promptless: Fact[Found]
    flag_differs: Fact[Found]
    overdue_prompts: Fact[Found]
    steps: Fact[Mapping[str, int]]
    without_article: Fact[Found]
    silent_errors: Fact[Found]
    without_context: Fact[Found]


@dataclass(frozen=True)
class Answer:
    """An HTTP answer: its status and what its body said, secrets masked."""

    status: int
    body: str = ""


@dataclass(frozen=True)
class Api:
    """The API's answers; `with_*` are the statuses of one harmless read with different tokens, `connection` how it
    reaches its database: direct, session_pooler or transaction_pooler."""

    live: Fact[Answer] = NOT_GATHERED
    ready: Fact[Answer] = NOT_GATHERED
    transport: Fact[str] = NOT_GATHERED
    with_token: Fact[Answer] = NOT_GATHERED
    with_wrong_token: Fact[Answer] = NOT_GATHERED
    with_no_token: Fact[Answer] = NOT_GATHERED
    queue: Fact[Answer] = NOT_GATHERED
    workers: Fact[str] = NOT_GATHERED
    clock: Fact[Clock] = NOT_GATHERED
    connection: Fact[str] = NOT_GATHERED


@dataclass(frozen=True)
class Subscription:
    """How far a subscription came, and what stopped it."""

    joined: bool
    live: bool
    live_after_ms: float | None = None
    trouble: str = ""


@dataclass(frozen=True)
class Delivery:
    """Events written by the probe, and what the owner's subscription received of them, in order of arrival."""

    written: tuple[str, ...]
    received: tuple[str, ...]
    latencies_ms: tuple[float, ...]
    deadline_s: float


@dataclass(frozen=True)
class Overheard:
    """What a user who may not read the process received; `refused`: the server rejected the subscription."""

    received: int
    refused: str = ""


@dataclass(frozen=True)
class Realtime:
    """What the Realtime endpoint answered."""

    health: Fact[Answer] = NOT_GATHERED
    handshake: Fact[str] = NOT_GATHERED
    wrong_key: Fact[str] = NOT_GATHERED
    subscription: Fact[Subscription] = NOT_GATHERED
    delivery: Fact[Delivery] = NOT_GATHERED
    anon: Fact[Overheard] = NOT_GATHERED
    stranger: Fact[Overheard] = NOT_GATHERED


@dataclass(frozen=True)
class Facts:
    """All facts about a target. `now` in seconds since 1970."""

    now: float
    settings: Fact[Settings] = NOT_GATHERED
    anon_key: Fact[Key] = NOT_GATHERED
    service_key: Fact[Key] = NOT_GATHERED
    server: Fact[Server] = NOT_GATHERED
    session: Fact[Session] = NOT_GATHERED
    database_clock: Fact[Clock] = NOT_GATHERED
    slots: Fact[tuple[Slot, ...]] = NOT_GATHERED
    migrations: Fact[Migrations] = NOT_GATHERED
    schema: Fact[Schema] = NOT_GATHERED
    log: Fact[EventLog] = NOT_GATHERED
    tasks: Fact[Tasks] = NOT_GATHERED
    processes: Fact[Processes] = NOT_GATHERED
    api: Api = Api()
    realtime: Realtime = Realtime()

    def but(self, **changes: object) -> Facts:
        """These facts with some of them replaced."""
        return replace(self, **changes)  # type: ignore[arg-type]
