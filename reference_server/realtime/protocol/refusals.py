"""The texts with which Realtime refuses: `Code: text` in replies, text alone in `system` messages."""

from __future__ import annotations

from typing import Final

from reference_server.tokens.token import (
    BadSignature,
    ExpiredToken,
    KeysUnavailable,
    MalformedToken,
    TokenError,
    UnsupportedAlgorithm,
)

UNMATCHED_TOPIC: Final = "unmatched topic"
TOPIC_REQUIRED: Final = "TopicNameRequired: You must provide a topic name"
TOO_MANY_CHANNELS: Final = "ChannelRateLimitReached: Too many channels"
TOO_MANY_USERS: Final = "ConnectionRateLimitReached: Too many connected users"
TOO_MANY_JOINS: Final = "ClientJoinRateLimitReached: Too many joins per second"
PRIVATE_ONLY: Final = "PrivateOnly: This project only allows private channels"
NO_DATABASE: Final = "UnableToConnectToProject: Realtime was unable to connect to the project database"
NOT_MIGRATED: Final = (
    "UnableToConnectToProject: The database has the legacy schema, which publishes no changes; "
    "run `toolkit migrate up`, then join again"
)
REPLAY_PUBLIC: Final = "UnableToReplayMessages: Replay is not allowed for public channels"
REPLAY_INVALID: Final = "UnableToReplayMessages: Replay params are not valid"
REPLAY_FAILED: Final = "UnableToReplayMessages: Realtime was unable to replay messages"
REPLICATION_READY: Final = "Replication connection established"
SUBSCRIBED: Final = "Subscribed to PostgreSQL"
TOO_MANY_MESSAGES: Final = "Too many messages per second"
PRESENCE_RATE: Final = "Client presence rate limit exceeded"
PRESENCE_NOT_A_MAP: Final = "Presence track payload must be a map"
PRESENCE_SIZE: Final = "Track message size exceeded"
OVERSIZE: Final = "payload_size_exceeded"
SLOW_CONSUMER: Final = (
    "The client reads more slowly than messages arrive; frames were dropped and the socket is closed. "
    "Reconnect, rejoin and fetch what was missed."
)


def cannot_read(topic: str) -> str:
    return f"You do not have permissions to read from this Channel topic: {topic}"


def no_longer_reads(topic: str) -> str:
    return f"You no longer have permission to read from this Channel topic: {topic}"


def no_replication(problem: str | None) -> str:
    late = "Replication connection was not established in time"
    return late if problem is None else f"{late}: {problem}"


def changes_refused(why: str) -> str:
    return f"RealtimeDisabledForConfiguration: {why}"


def changes_late(waited_s: float) -> str:
    waited = f"{waited_s * 1000:.0f}ms"
    return f"PostgresChangesSubscribeTimeout: Timed out after {waited} waiting for the postgres_changes subscription"


def invalid_config(what: str) -> str:
    return f"InvalidJoinPayload: {what}"


def at_join(error: TokenError) -> str:
    match error:
        case MalformedToken():
            code = "MalformedJWT"
        case BadSignature():
            code = "JwtSignatureError"
        case UnsupportedAlgorithm() | KeysUnavailable():
            code = "JwtSignerError"
        case _:
            code = "InvalidJWTToken"
    return f"{code}: {error.message}"


def at_connect(error: TokenError) -> str:
    return "Token has expired" if isinstance(error, ExpiredToken) else error.message
