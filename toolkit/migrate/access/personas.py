"""The personas of the security proof: the claims of their sessions, and the rows that belong to each. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

Persona = Literal["anon", "signed-in", "owner", "other", "member", "service_role"]
PERSONAS: tuple[Persona, ...] = ("anon", "signed-in", "owner", "other", "member", "service_role")
CLIENT_ROLES = ("anon", "authenticated")
ROLES = (*CLIENT_ROLES, "service_role")

# To whom a staged row belongs. A row of MINE is the owner's with a uuid for a subject, MINE_TEXT's the owner's with a
# text (as Clerk's ids); TEAM's belongs to a colleague and to the organisation of the member; THEIRS to strangers.
RowOwner = str
MINE, MINE_TEXT, TEAM, THEIRS, NOBODY = "own", "own (text id)", "the organisation's", "somebody else's", "nobody's"
SHARED, PERSONAL, REST = "shared", "personal", "rest"
PEOPLES: tuple[RowOwner, ...] = (MINE, MINE_TEXT, TEAM, THEIRS)

USERS: dict[RowOwner, str | None] = {
    MINE: "0a7c5a10-0000-4000-8000-0000000000a1",
    MINE_TEXT: "user_2toolkitOwner000000000a2",
    TEAM: "0a7c5a10-0000-4000-8000-0000000000b1",
    THEIRS: "0a7c5a10-0000-4000-8000-0000000000c1",
    NOBODY: None,
}
ORGANISATIONS: dict[RowOwner, str | None] = {
    MINE: "0a7c5a10-0000-4000-8000-0000000000d1",
    MINE_TEXT: "0a7c5a10-0000-4000-8000-0000000000d2",
    TEAM: "0a7c5a10-0000-4000-8000-0000000000d3",
    THEIRS: "0a7c5a10-0000-4000-8000-0000000000d4",
    NOBODY: None,
}
MEMBERS = ("0a7c5a10-0000-4000-8000-0000000000b2", "user_2toolkitMember00000000b3")
OTHERS = ("0a7c5a10-0000-4000-8000-0000000000e1", "user_2toolkitOther000000000e2")
OWNER_OF_USER: dict[str, RowOwner] = {user: row_owner for row_owner, user in USERS.items() if user} | dict.fromkeys(
    (*MEMBERS, *OTHERS), PERSONAL
)


@dataclass(frozen=True)
class PersonaSession:
    """A persona with one shape of claims. `claims` None: the setting was never set in the session. `own`: the RowOwners
    who are this person; `joined`: those of the person's organisations."""

    persona: Persona
    shape: str
    role: str
    claims: str | None
    own: frozenset[RowOwner] = frozenset()
    joined: frozenset[RowOwner] = frozenset()

    def __str__(self) -> str:
        return f"{self.persona} ({self.shape})"

    @property
    def entitled(self) -> frozenset[RowOwner]:
        """The RowOwners whose rows this session may see."""
        return self.own | self.joined


def _signed_in(persona: Persona, shape: str, subject: str, own: RowOwner = "", joined: RowOwner = "") -> PersonaSession:
    return PersonaSession(
        persona,
        shape,
        "authenticated",
        json.dumps({"role": "authenticated", "aud": "authenticated", "sub": subject}),
        frozenset({own} if own else ()),
        frozenset({joined} if joined else ()),
    )


UUID_ID, TEXT_ID, NEVER_SET, EMPTY, MALFORMED = "uuid sub", "text sub", "claims never set", "claims empty", "malformed"
NO_SUB, EMPTY_SUB, KEY = "no sub", "empty sub", "token"
_BROKEN = '{"sub": "user_2'
# Sessions without claims come first: once a setting was set in a connection, it reads as '' and never again as unset.
SESSIONS: tuple[PersonaSession, ...] = (
    PersonaSession("anon", NEVER_SET, "anon", None),
    PersonaSession("signed-in", NEVER_SET, "authenticated", None),
    PersonaSession("anon", EMPTY, "anon", ""),
    PersonaSession("anon", MALFORMED, "anon", _BROKEN),
    PersonaSession("anon", KEY, "anon", '{"role": "anon"}'),
    PersonaSession("signed-in", EMPTY, "authenticated", ""),
    PersonaSession("signed-in", MALFORMED, "authenticated", _BROKEN),
    PersonaSession("signed-in", NO_SUB, "authenticated", '{"role": "authenticated"}'),
    PersonaSession("signed-in", EMPTY_SUB, "authenticated", '{"role": "authenticated", "sub": ""}'),
    _signed_in("owner", UUID_ID, str(USERS[MINE]), MINE),
    _signed_in("owner", TEXT_ID, str(USERS[MINE_TEXT]), MINE_TEXT),
    _signed_in("other", UUID_ID, OTHERS[0]),
    _signed_in("other", TEXT_ID, OTHERS[1]),
    _signed_in("member", UUID_ID, MEMBERS[0], joined=TEAM),
    _signed_in("member", TEXT_ID, MEMBERS[1], joined=TEAM),
    PersonaSession("service_role", KEY, "service_role", '{"role": "service_role"}'),
)
# Each persona once, and the two shapes of claims that most often go wrong.
FEWER: tuple[PersonaSession, ...] = tuple(
    session
    for session in SESSIONS
    if (session.persona, session.shape)
    in {
        ("anon", NEVER_SET),
        ("anon", KEY),
        ("signed-in", EMPTY),
        ("signed-in", MALFORMED),
        ("owner", UUID_ID),
        ("owner", TEXT_ID),
        ("other", TEXT_ID),
        ("other", UUID_ID),
        ("member", UUID_ID),
        ("member", TEXT_ID),
        ("service_role", KEY),
    }
)
