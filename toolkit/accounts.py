"""Users to act as on a target: tokens made with its JWT secret, or real users signed in through the project's auth.

# SUPABASE_USERS_FILE: accounts of the project that the toolkit may use
[[user]]
email = "test-1@example.org"
password = "…"
"""

from __future__ import annotations

import contextlib
import secrets
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import httpx

from toolkit.client.auth import TokenSource
from toolkit.client.supabase_session import SessionTokens
from toolkit.errors import EnvironmentError_, ToolkitError, UsageError
from toolkit.redact import redact
from toolkit.targets.settings import require_values
from toolkit.targets.target import Target

if TYPE_CHECKING:
    from supabase import AsyncClient

Way = Literal["file", "minted", "created"]
DEADLINE_S = 20.0
# Longer than any run; renewing tokens is another test's subject.
_MINTED_S = 7200
_NEEDED: dict[Way, tuple[str, ...]] = {
    "file": ("SUPABASE_URL", "SUPABASE_ANON_KEY"),
    "minted": ("SUPABASE_JWT_SECRET",),
    "created": ("SUPABASE_URL", "SUPABASE_ANON_KEY", "SUPABASE_SERVICE_ROLE_KEY"),
}


@dataclass(frozen=True)
class Account:
    """One user: the `sub` of their tokens, and where these come from."""

    subject: str
    tokens: TokenSource

    @property
    def token(self) -> str:
        """The token of now."""
        assert self.tokens.current is not None, "an account has a token from the beginning"
        return self.tokens.current


class Accounts(ABC):
    """The users of one run: `await accounts.of("alice")` is the same user each time; `aclose` removes what was made."""

    def __init__(self) -> None:
        self._known: dict[str, Account] = {}
        # What could not be cleaned up, in words.
        self.left_behind: list[str] = []

    async def of(self, name: str) -> Account:
        """The user called `name`. Raises EnvironmentError_ when signing in fails, UsageError when there is no other."""
        if name not in self._known:
            self._known[name] = await self._sign_in(name)
        return self._known[name]

    @abstractmethod
    async def _sign_in(self, name: str) -> Account: ...

    @abstractmethod
    async def aclose(self) -> None:
        """Sign everybody out, and remove the users that were made. Never raises."""


def way_of(target: Target) -> Way:
    """How users are had: by the file of users, else the JWT secret, else the service_role key.

    Raises UsageError naming all three when the target has none, or what the one it has lacks beside it.
    """
    way: Way
    if target.users_file:
        way = "file"
    elif target.jwt_secret:
        way = "minted"
    elif target.service_role_key:
        way = "created"
    else:
        try:
            require_values({}, "SUPABASE_JWT_SECRET", "SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_USERS_FILE")
        except UsageError as error:
            raise UsageError(
                "There is nobody to act as: none of SUPABASE_JWT_SECRET, SUPABASE_SERVICE_ROLE_KEY and "
                "SUPABASE_USERS_FILE is set.",
                error.remedy.replace("Set it", "Set one of them", 1),
            ) from None
    target.require(*_NEEDED[way])
    return way


def accounts_on(target: Target, run: str) -> Accounts:
    """The users of a run called `run` (its name is part of theirs). Raises UsageError as `way_of` does."""
    match way_of(target):
        case "file":
            assert target.users_file is not None
            return _Listed(target, read_users(Path(target.users_file)))
        case "minted":
            return _Minted(target, run)
        case "created":
            return _Created(target, run)


@dataclass(frozen=True)
class Credentials:
    """What a user signs in with."""

    email: str
    password: str


def read_users(path: Path) -> tuple[Credentials, ...]:
    """The users that a file lists. Raises UsageError; no password is in it."""
    remedy = 'Write for each user: [[user]], email = "…", password = "…" (TOML in UTF-8).'
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} (SUPABASE_USERS_FILE) cannot be read: {error.strerror}.", remedy) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} (SUPABASE_USERS_FILE) is not TOML in UTF-8: {type(error).__name__}.", remedy
        ) from None
    listed = data.get("user")
    if not isinstance(listed, list) or not listed:
        raise UsageError(f"{path} (SUPABASE_USERS_FILE) lists no user.", remedy)
    found = []
    for number, user in enumerate(listed, 1):
        email, password = (user.get(key) if isinstance(user, dict) else None for key in ("email", "password"))
        if not (isinstance(email, str) and isinstance(password, str) and email and password):
            raise UsageError(f"{path}: user {number} has no email and password as texts.", remedy)
        found.append(Credentials(email, password))
    return tuple(found)


def _joined(*words: str) -> str:
    return "-".join(filter(None, words))


class _Minted(Accounts):
    def __init__(self, target: Target, run: str) -> None:
        super().__init__()
        self._target, self._run = target, run

    async def _sign_in(self, name: str) -> Account:
        subject = _joined(name, self._run)
        return Account(subject, TokenSource(self._target.user_token(subject, ttl_s=_MINTED_S)))

    async def aclose(self) -> None:
        return


class _SignedIn(Accounts):
    """Users with sessions, which the Supabase client renews as long as the accounts are open."""

    def __init__(self, target: Target) -> None:
        super().__init__()
        self._target = target
        self._stack = AsyncExitStack()
        self._http: httpx.AsyncClient | None = None

    async def _client(self, key: str) -> AsyncClient:
        # The package takes as long to import as everything else together, and minted users need none of it.
        from supabase import AsyncClientOptions, acreate_client

        if self._http is None:
            self._http = await self._stack.enter_async_context(httpx.AsyncClient(timeout=DEADLINE_S))
        options = AsyncClientOptions(httpx_client=self._http, persist_session=False)
        return await acreate_client(self._target.get("SUPABASE_URL"), key, options)

    async def _with_password(self, credentials: Credentials) -> Account:
        from supabase_auth.errors import AuthError

        client = await self._client(self._target.get("SUPABASE_ANON_KEY"))
        try:
            answer = await client.auth.sign_in_with_password(
                {"email": credentials.email, "password": credentials.password}
            )
        except AuthError as error:
            raise EnvironmentError_(
                f"{credentials.email} cannot be signed in at {self._target.supabase_url}: {redact(error.message)}",
                "Check the address and password, and that the project's auth allows to sign in with them.",
            ) from error
        assert answer.user is not None, "a password grant names its user"
        self._stack.push_async_callback(self._sign_out, client)
        tokens = SessionTokens(client)
        await tokens.get()
        client.auth.on_auth_state_change(lambda _, session: tokens.renewed(session.access_token if session else None))
        return Account(answer.user.id, tokens)

    @staticmethod
    async def _sign_out(client: AsyncClient) -> None:
        from supabase_auth.errors import AuthError

        with contextlib.suppress(AuthError, httpx.HTTPError):  # a session that stays ends by itself
            await client.auth.sign_out({"scope": "local"})

    async def aclose(self) -> None:
        await self._stack.aclose()


class _Listed(_SignedIn):
    def __init__(self, target: Target, users: Iterable[Credentials]) -> None:
        super().__init__(target)
        self._free = list(users)

    async def _sign_in(self, name: str) -> Account:
        if not self._free:
            raise UsageError(
                f"{self._target.users_file} lists {len(self._known)} users, and the run needs more.",
                "Add users to it, or leave it out and give SUPABASE_SERVICE_ROLE_KEY: then users are made for the run.",
            )
        return await self._with_password(self._free.pop(0))


class _Created(_SignedIn):
    def __init__(self, target: Target, run: str) -> None:
        super().__init__(target)
        self._run = run
        self._admin: AsyncClient | None = None

    async def _sign_in(self, name: str) -> Account:
        from supabase_auth.errors import AuthError

        if self._admin is None:
            self._admin = await self._client(self._target.get("SUPABASE_SERVICE_ROLE_KEY"))
        admin = self._admin.auth.admin
        # A reserved domain: nobody is written to, and the address is confirmed with the user.
        email = _joined("toolkit", name, self._run, secrets.token_hex(4)).lower() + "@example.com"
        credentials = Credentials(email, secrets.token_urlsafe(24))
        try:
            made = await admin.create_user({"email": email, "password": credentials.password, "email_confirm": True})
        except AuthError as error:
            raise EnvironmentError_(
                f"No test user can be made at {self._target.supabase_url}: {redact(error.message)}",
                "Check SUPABASE_SERVICE_ROLE_KEY, or list users of the project in SUPABASE_USERS_FILE.",
            ) from error
        self._stack.push_async_callback(self._remove, made.user.id, email)
        return await self._with_password(credentials)

    async def _remove(self, user_id: str, email: str) -> None:
        from supabase_auth.errors import AuthError

        assert self._admin is not None
        try:
            await self._admin.auth.admin.delete_user(user_id)
        except (AuthError, httpx.HTTPError, ToolkitError) as error:
            self.left_behind.append(f"the test user {email} could not be removed: {redact(str(error))}")
