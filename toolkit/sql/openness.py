"""What policies and functions say of whom they are for, and what a call gives to whoever makes it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from toolkit.sql.parse import Piece, label, nodes, strings

_ANYBODY = re.compile(r"\b(any ?one|any ?body|every ?one|every ?body|public|anon|anonymous|visitors?|guests?)\b", re.I)
_SECRET = re.compile(r"token|secret|otp|passcode|password|signature|(invite|invitation|access|share)_?(code|key)", re.I)
_CALLER = {("auth", "uid"), ("auth", "jwt"), ("auth", "role"), ("auth", "email")}
_USERS = {"SVFOP_CURRENT_USER", "SVFOP_SESSION_USER", "SVFOP_USER", "SVFOP_CURRENT_ROLE"}
_CHANGING = (nodes.InsertStmt, nodes.UpdateStmt, nodes.DeleteStmt, nodes.MergeStmt)
_EXISTS = "EXISTS_SUBLINK"
_INSIDE = {"public", "pg_catalog", "auth", "extensions"}


def says_anybody(policy: str) -> bool:
    """Whether a policy says by its name that it is for everybody: `Anyone can send feedback`, `public_insert`."""
    return _ANYBODY.search(policy.replace("_", " ")) is not None


def takes_secret(parameters: Iterable[str]) -> bool:
    """Whether a function is given, by the names of its parameters, what only who may call it knows."""
    return any(_SECRET.search(parameter) for parameter in parameters)


def writes(code: Sequence[Piece]) -> bool:
    """Whether it changes rows, runs what does more than read, or calls what may reach out of the database."""
    for piece in code:
        if not isinstance(piece.node, nodes.SelectStmt) or any(True for kind in _CHANGING for _ in piece.find(kind)):
            return True
        for call in piece.find(nodes.FuncCall):
            *schema, name = strings(call.funcname)
            if (schema and schema[-1] not in _INSIDE) or name.startswith("http"):
                return True
    return False


def only_asks(code: Sequence[Piece]) -> bool:
    """Whether every table in it, and there is one, is read inside EXISTS, which tells no more than yes or no."""
    reads = False
    for piece in code:
        links = (link for link in piece.find(nodes.SubLink) if label("SubLinkType", link.sub_link_type) == _EXISTS)
        inside = {one.location for link in links for one in piece.under(link).find(nodes.RangeVar)}
        relations = {one.location for one in piece.find(nodes.RangeVar)}
        if not relations <= inside:
            return False
        reads |= bool(relations)
    return reads


def asks_caller(code: Sequence[Piece]) -> bool:
    """Whether it looks at who calls: auth.uid() and its kin, the claims, or the session's user."""
    for piece in code:
        if any(tuple(strings(call.funcname)[-2:]) in _CALLER for call in piece.find(nodes.FuncCall)):
            return True
        users = (label("SQLValueFunctionOp", value.op) for value in piece.find(nodes.SQLValueFunction))
        if any(user in _USERS for user in users):
            return True
        texts = (one.val for one in piece.find(nodes.A_Const))
        if any(isinstance(text, nodes.String) and text.sval.startswith("request.jwt") for text in texts):
            return True
    return False
