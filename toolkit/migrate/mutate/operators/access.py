"""Operators that change who may do what: policies, grants, row level security, the rights of functions and views."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from toolkit.migrate.mutate.operators.operator import Operator
from toolkit.migrate.mutate.operators.places import (
    Change,
    Place,
    cleared,
    inner,
    kind_of,
    named,
    negated,
    set_to,
    without,
)
from toolkit.sql import parse
from toolkit.sql.mutants import SECURITY_DEFINER
from toolkit.sql.parse import label


def _policy(place: Place) -> Iterator[Change]:
    for field, clause in (("qual", "USING"), ("with_check", "WITH CHECK")):
        if not place.node.HasField(field):
            continue
        if parse.written(_select(getattr(place.node, field))) != "SELECT true":
            yield Change(f"{clause} (true)", _put(field, "true"))
        if parse.written(_select(getattr(place.node, field))) != "SELECT false":
            yield Change(f"{clause} (false)", _put(field, "false"))
            yield Change(f"{clause} is turned into its opposite", negated(field))
    if place.node.HasField("qual") and place.node.HasField("with_check"):
        yield Change("WITH CHECK is left out, so that USING checks", cleared("with_check"))


def _select(expression: Any) -> Any:
    tree = parse.bare("SELECT true")
    tree.select_stmt.target_list[0].res_target.val.CopyFrom(expression)
    return tree


def _put(field: str, text: str) -> Any:
    def edit(node: Any, _wrapper: Any) -> None:
        getattr(node, field).CopyFrom(parse.expression(text))

    return edit


def _policy_reach(place: Place) -> Iterator[Change]:
    if place.kind == "CreatePolicyStmt":
        if place.node.cmd_name != "all":
            yield Change("the policy is for every command", _every_command)
        yield Change(
            "AS PERMISSIVE becomes AS RESTRICTIVE" if place.node.permissive else "AS RESTRICTIVE is left out",
            set_to("permissive", not place.node.permissive),
        )
    everybody = [one for one in place.node.roles if label("RoleSpecType", one.role_spec.roletype) == "ROLESPEC_PUBLIC"]
    if place.node.roles and not everybody:
        yield Change("the policy is for every role", _public("roles"))
    if len(place.node.roles) > 1:
        for number in range(len(place.node.roles)):
            yield Change("the policy is for one role less", without("roles", number))


def _every_command(node: Any, _wrapper: Any) -> None:
    node.cmd_name = "all"
    if node.HasField("with_check") and not node.HasField("qual"):
        node.qual.CopyFrom(node.with_check)


def _public(field: str) -> Any:
    def edit(node: Any, _wrapper: Any) -> None:
        roles = getattr(node, field)
        del roles[1:]
        named("roletype", "ROLESPEC_PUBLIC")(roles[0].role_spec, None)
        roles[0].role_spec.ClearField("rolename")

    return edit


def _grant(place: Place) -> Iterator[Change]:
    word = "granted" if place.node.is_grant else "revoked"
    for field, what in (("privileges", "privilege"), ("objects", "object"), ("grantees", "role")):
        if len(getattr(place.node, field)) > 1:
            for number in range(len(getattr(place.node, field))):
                yield Change(f"one {what} less is {word}", without(field, number))
    if place.node.is_grant and place.node.privileges:
        is_routine = label("ObjectType", place.node.objtype) in {
            "OBJECT_FUNCTION",
            "OBJECT_PROCEDURE",
            "OBJECT_ROUTINE",
        }
        if not is_routine:
            yield Change("every privilege is granted", cleared("privileges"))
        for number, privilege in enumerate(place.node.privileges):
            if privilege.access_priv.cols:

                def whole(node: Any, _wrapper: Any, number: int = number) -> None:
                    node.privileges[number].access_priv.ClearField("cols")

                yield Change("it is granted on every column", whole)
    if place.node.is_grant and all(
        label("RoleSpecType", one.role_spec.roletype) != "ROLESPEC_PUBLIC" for one in place.node.grantees
    ):
        yield Change("it is granted to everybody", _public("grantees"))


def _table_security(place: Place) -> Iterator[Change]:
    """What an ALTER TABLE of several commands says of row level security, one less."""
    for number, command in enumerate(place.node.cmds):
        kind = label("AlterTableType", command.alter_table_cmd.subtype)
        if len(place.node.cmds) > 1 and kind in {"AT_EnableRowSecurity", "AT_ForceRowSecurity", "AT_ReplicaIdentity"}:
            yield Change("row level security or replica identity is not set", without("cmds", number))


def _rights(place: Place) -> Iterator[Change]:
    field = "options" if place.kind == "CreateFunctionStmt" else "actions"
    options = getattr(place.node, field)
    definer = [
        n for n, one in enumerate(options) if one.def_elem.defname == "security" and one.def_elem.arg.boolean.boolval
    ]
    if definer:

        def invoker(node: Any, _wrapper: Any) -> None:
            getattr(node, field)[definer[0]].def_elem.arg.boolean.boolval = False

        yield Change("SECURITY DEFINER becomes SECURITY INVOKER", invoker)
    elif place.kind == "CreateFunctionStmt":

        def with_owner(node: Any, _wrapper: Any) -> None:
            example = parse.bare(SECURITY_DEFINER)
            node.options.add().CopyFrom(
                next(one for one in example.create_function_stmt.options if one.def_elem.defname == "security")
            )

        yield Change("the function runs with the rights of its owner", with_owner)
    for number, one in enumerate(options):
        if one.def_elem.defname == "set":
            yield Change(f"SET {one.def_elem.arg.variable_set_stmt.name} is left out", without(field, number))


def _character(place: Place) -> Iterator[Change]:
    """STRICT and volatility."""
    for number, one in enumerate(place.node.options):
        option = one.def_elem
        if option.defname in {"strict", "volatility", "leakproof"}:
            yield Change(f"{option.defname} is left out", without("options", number))


def _view(place: Place) -> Iterator[Change]:
    for number, one in enumerate(place.node.options):
        if one.def_elem.defname in {"security_invoker", "security_barrier"}:
            yield Change(f"{one.def_elem.defname} is left out", without("options", number))
    if label("ViewCheckOption", place.node.with_check_option) != "NO_CHECK_OPTION":
        yield Change("WITH CHECK OPTION is left out", named("with_check_option", "NO_CHECK_OPTION"))


def _publication(place: Place) -> Iterator[Change]:
    members = place.node.pubobjects
    for number in range(len(members)):
        if len(members) > 1:
            yield Change("one table less is published", without("pubobjects", number))
        table = members[number].publication_obj_spec.pubtable
        for field, what in (("where_clause", "its row filter"), ("columns", "its list of columns")):
            if table.HasField(field) if field == "where_clause" else table.columns:

                def edit(node: Any, _wrapper: Any, number: int = number, field: str = field) -> None:
                    node.pubobjects[number].publication_obj_spec.pubtable.ClearField(field)

                yield Change(f"a table is published without {what}", edit)
    for number, one in enumerate(place.node.options):
        if one.def_elem.defname == "publish" and kind_of(one.def_elem.arg) == "String":
            operations = [word.strip() for word in inner(one.def_elem.arg).sval.split(",")]
            for operation in operations if len(operations) > 1 else ():

                def less(
                    node: Any,
                    _wrapper: Any,
                    number: int = number,
                    kept: str = ", ".join(word for word in operations if word != operation),
                ) -> None:
                    node.options[number].def_elem.arg.string.sval = kept

                yield Change(f"{operation} is not published", less)


OPERATORS = (
    Operator(
        "policy-condition",
        "policy",
        "A policy is true, false or its opposite",
        "Strangers see or write rows that are not theirs, or nobody does.",
        ("CreatePolicyStmt", "AlterPolicyStmt"),
        _policy,
    ),
    Operator(
        "policy-reach",
        "policy",
        "A policy reaches further, or less far",
        "It holds for other commands or roles than it was written for.",
        ("CreatePolicyStmt", "AlterPolicyStmt"),
        _policy_reach,
    ),
    Operator(
        "grant",
        "grant",
        "A GRANT or REVOKE is wider or narrower",
        "A role may more than it needs, or less.",
        ("GrantStmt",),
        _grant,
    ),
    Operator(
        "row-security",
        "policy",
        "Row level security is not set",
        "Policies stand there and nobody asks them.",
        ("AlterTableStmt",),
        _table_security,
    ),
    Operator(
        "function-rights",
        "function",
        "SECURITY DEFINER or a setting of a function is exchanged or dropped",
        "It runs with other rights, or looks for names where its caller says.",
        ("CreateFunctionStmt", "AlterFunctionStmt"),
        _rights,
    ),
    Operator(
        "function-character",
        "function",
        "STRICT or the volatility of a function is dropped",
        "It is called with NULL, or another plan is chosen.",
        ("CreateFunctionStmt",),
        _character,
    ),
    Operator(
        "view-security",
        "view",
        "security_invoker, security_barrier or the check option of a view is dropped",
        "The view shows rows that the policies of its tables hide.",
        ("ViewStmt",),
        _view,
    ),
    Operator(
        "publication",
        "publication",
        "A table or operation less is published, or without its filter",
        "Subscribers hear nothing of a change, or of rows that are not for them.",
        ("CreatePublicationStmt", "AlterPublicationStmt"),
        _publication,
    ),
)
