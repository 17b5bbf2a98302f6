"""What a join asks for, and the joined channel. Parts that the real server ignores when malformed are ignored here."""

from __future__ import annotations

import re
import uuid
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeGuard

from reference_server.realtime.protocol.messages import Message, Ref, Unsendable
from reference_server.tokens.token import VerifiedToken

TOPIC_PREFIX: Final = "realtime:"
MOST_REPLAYED: Final = 25
WAIT_MS: Final = 15_000  # for changes, when a client asks to wait and does not say for how long
MOST_WAIT_MS: Final = 20_000


class JoinBinding(Protocol):
    """One postgres_changes binding, as far as the join and its reply know it.

    `raw` is what the client sent; the reply repeats it together with `id`.
    """

    @property
    def id(self) -> int: ...
    @property
    def raw(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Replay:
    """The newest `limit` messages since then (ms since 1970) are asked for."""

    since_ms: int
    limit: int


@dataclass(frozen=True, slots=True)
class BadReplay:
    """A replay is asked for in a way that cannot be read: `refused`, or ignored where the channel is private."""

    refused: bool


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """The parts of a phx_join. `token` is None when the token of the connection is to be used.

    `legacy` marks the protocol without `config`: its topic encodes schema, table and filter. `wait_for_changes` is
    for how many seconds the reply may be held until the changes flow, None when the client does not ask for that.
    """

    topic: str
    ref: Ref
    join_ref: Ref
    token: str | None
    private: bool = False
    self_broadcast: bool = False
    ack: bool = False
    replication_ready: bool = False
    replay: Replay | BadReplay | None = None
    presence_key: str = ""
    presence_enabled: bool = False
    postgres_changes: Any = None
    wait_for_changes: float | None = None
    legacy: bool = False

    @property
    def name(self) -> str:
        return self.topic.removeprefix(TOPIC_PREFIX)

    @property
    def channel_ref(self) -> Ref:
        """The join_ref of the channel's own messages: a join that sent none is known by its ref."""
        return self.ref if self.join_ref is None else self.join_ref


@dataclass(frozen=True, slots=True)
class BadConfig:
    """A config that cannot be read; `what` says why, for the client."""

    what: str


@dataclass(slots=True, eq=False)
class Channel:
    """A joined channel of one socket. `join_ref` is what the server puts into its own messages."""

    topic: str
    join_ref: Ref
    raw_token: str | None
    token: VerifiedToken
    private: bool
    self_broadcast: bool
    ack: bool
    presence_key: str
    bindings: tuple[JoinBinding, ...] = ()
    legacy: bool = False
    may_read_broadcast: bool = True
    may_read_presence: bool = True
    replication_until: float | None = None  # the client waits to hear by then that messages are streamed
    refreshing: bool = False  # a new token is being verified: the old one's end does not count
    presence_calls: deque[float] = field(default_factory=deque)

    @property
    def name(self) -> str:
        return self.topic.removeprefix(TOPIC_PREFIX)

    def loses(self, *, broadcast: bool, presence: bool) -> bool:
        """Whether one of the rights to receive that the channel has is not among the new ones."""
        return (self.may_read_broadcast and not broadcast) or (self.may_read_presence and not presence)

    @property
    def key(self) -> tuple[str, bool]:
        """A public and a private channel of the same name are two channels."""
        return self.topic, self.private


def read_join(message: Message) -> JoinRequest | BadConfig:
    """Read the payload of a phx_join; a payload without `config` is the older protocol."""
    if isinstance(message.payload, Unsendable):
        return BadConfig(message.payload)
    payload = message.payload if isinstance(message.payload, dict) else {}
    token = _token(payload)
    common: dict[str, Any] = {
        "topic": message.topic,
        "ref": message.ref,
        "join_ref": message.join_ref,
        "token": token,
    }
    if "config" not in payload:
        return JoinRequest(**common, legacy=True, postgres_changes=legacy_bindings(message.topic))
    config = payload["config"]
    if not isinstance(config, dict):
        return JoinRequest(**common)
    broadcast, presence = config.get("broadcast") or {}, config.get("presence") or {}
    for name, value in (("broadcast", broadcast), ("presence", presence)):
        if not isinstance(value, dict):
            return BadConfig(f"config.{name} must be an object")
    key = presence.get("key")
    return JoinRequest(
        **common,
        private=_flag(config.get("private")),
        self_broadcast=_flag(broadcast.get("self")),
        ack=_flag(broadcast.get("ack")),
        replication_ready=_flag(broadcast.get("replication_ready")),
        replay=_replay(broadcast["replay"]) if "replay" in broadcast else None,
        presence_key=key if isinstance(key, str) and key else str(uuid.uuid4()),
        presence_enabled=_flag(presence.get("enabled")),
        postgres_changes=config.get("postgres_changes"),
        wait_for_changes=_wait(config.get("postgres_changes_options")),
    )


def legacy_bindings(topic: str) -> list[dict[str, str]]:
    """`realtime:schema[:table[:filter]]` as a binding without `event`, as the real server echoes it."""
    names = ("schema", "table", "filter")
    return [dict(zip(names, topic.removeprefix(TOPIC_PREFIX).split(":", 2), strict=False))]


def usable_token(value: object) -> str | None:
    """A token to be verified, or None for what is ignored: null, no text, an `sb_` key."""
    return value if isinstance(value, str) and not value.startswith("sb_") else None


def _replay(value: object) -> Replay | BadReplay:
    if not isinstance(value, dict):
        return BadReplay(refused=False)
    since, limit = value.get("since"), value.get("limit")
    limit = MOST_REPLAYED if limit is None or limit is False else limit
    if not _whole(since) or not _whole(limit):
        return BadReplay(refused=True)
    return Replay(since, max(1, min(limit, MOST_REPLAYED)))


def _wait(options: object) -> float | None:
    """Seconds; the client gives milliseconds, as a number or as text."""
    if not isinstance(options, dict) or not _flag(options.get("wait")):
        return None
    timeout = options.get("timeout")
    if isinstance(timeout, str) and re.fullmatch(r"[+-]?\d{1,9}", timeout):
        timeout = int(timeout)
    return min(timeout if _whole(timeout) else WAIT_MS, MOST_WAIT_MS) / 1000


def _whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _token(payload: dict[str, Any]) -> str | None:
    for name in ("user_token", "access_token"):
        if (token := usable_token(payload.get(name))) is not None:
            return token
    return None


def _flag(value: object) -> bool:
    return value is True or (isinstance(value, str) and value.lower() == "true")
