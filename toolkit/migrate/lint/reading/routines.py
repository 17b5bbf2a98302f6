"""Functions and privileges → facts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from toolkit.migrate.lint.reading.facts import AlterFunction, DefaultPrivileges, Fact, Function, Privileges
from toolkit.migrate.lint.reading.findings import At
from toolkit.migrate.lint.reading.names import Name, of_object, of_parts, of_roles, of_type
from toolkit.sql.bodies import Body
from toolkit.sql.parse import AstNode, label, nodes, strings

_NO_ARGUMENT = {"FUNC_PARAM_OUT", "FUNC_PARAM_TABLE"}
ROUTINES = ("function", "procedure", "routine")


def create_function(node: nodes.CreateFunctionStmt, body: Body, at: At) -> Function:
    """CREATE FUNCTION or PROCEDURE."""
    parameters = [one for one in node.parameters if isinstance(one, nodes.FunctionParameter)]
    taken = [one for one in parameters if label("FunctionParameterMode", one.mode) not in _NO_ARGUMENT]
    language = "sql"
    for option in _options(node.options):
        if option.defname == "language" and isinstance(option.arg, nodes.String):
            language = option.arg.sval.lower()
    return Function(
        at,
        of_parts(strings(node.funcname)),
        tuple(of_type(one.arg_type) for one in taken),
        sum(one.defexpr is not None for one in taken),
        of_type(node.return_type),
        _definer(node.options) is True,
        _search_path(node.options) is True,
        node.replace,
        language,
        body,
        tuple(one.name for one in taken),
    )


def _options(options: Iterable[AstNode]) -> Iterator[nodes.DefElem]:
    return (option for option in options if isinstance(option, nodes.DefElem))


def _definer(options: Iterable[AstNode]) -> bool | None:
    found = None
    for option in _options(options):
        if option.defname == "security" and isinstance(option.arg, nodes.Boolean):
            found = option.arg.boolval
    return found


def _search_path(options: Iterable[AstNode]) -> bool | None:
    """Whether it is set (true) or reset (false) here."""
    found = None
    for option in _options(options):
        match option.arg:
            case nodes.VariableSetStmt(name="search_path") as setting:
                found = label("VariableSetKind", setting.kind) != "VAR_RESET"
            case nodes.VariableSetStmt() as setting if label("VariableSetKind", setting.kind) == "VAR_RESET_ALL":
                found = False
    return found


def alter_function(node: nodes.AlterFunctionStmt, at: At) -> Iterator[AlterFunction]:
    """ALTER FUNCTION, but for its new name."""
    if node.func is not None:
        name, arguments = of_parts(strings(node.func.objname)), arguments_of(node.func)
        yield AlterFunction(at, name, arguments, _definer(node.actions), _search_path(node.actions))


def arguments_of(node: nodes.ObjectWithArgs) -> tuple[str, ...] | None:
    """The types of a function's arguments where it is named with them."""
    if node.args_unspecified:
        return None
    return tuple(of_type(one) for one in node.objargs if isinstance(one, nodes.TypeName))


def privileges(node: nodes.GrantStmt, at: At) -> Iterator[Fact]:
    """GRANT or REVOKE of privileges; memberships in roles state nothing."""
    kind = _kind(node)
    in_schemas = label("GrantTargetType", node.targtype) == "ACL_TARGET_ALL_IN_SCHEMA"
    objects = () if in_schemas else tuple(_objects(node.objects, kind))
    all_in = strings(node.objects) if in_schemas else ()
    limited = any(isinstance(one, nodes.AccessPriv) and one.cols for one in node.privileges)
    roles = of_roles(node.grantees)
    yield Privileges(at, node.is_grant, _verbs(node.privileges), kind, objects, all_in, roles, limited)


def _kind(node: nodes.GrantStmt) -> str:
    return label("ObjectType", node.objtype).removeprefix("OBJECT_").replace("_", " ").lower()


def _verbs(privileges: Sequence[AstNode]) -> tuple[str, ...]:
    named = (one.priv_name for one in privileges if isinstance(one, nodes.AccessPriv))
    return tuple(verb.lower() or "all" for verb in named) or ("all",)


def _objects(objects: Iterable[AstNode], kind: str) -> Iterator[tuple[Name, tuple[str, ...] | None]]:
    for one in objects:
        if (name := of_object(one)) is not None:
            arguments = arguments_of(one) if isinstance(one, nodes.ObjectWithArgs) else None
            yield Name(name.name, "") if kind == "schema" else name, arguments


def default_privileges(node: nodes.AlterDefaultPrivilegesStmt, at: At) -> Iterator[DefaultPrivileges]:
    """ALTER DEFAULT PRIVILEGES."""
    schemas: tuple[str, ...] = ()
    for option in _options(node.options):
        if option.defname == "schemas" and isinstance(option.arg, nodes.List):
            schemas = strings(option.arg.items)
    if (grant := node.action) is not None:
        roles = of_roles(grant.grantees)
        yield DefaultPrivileges(at, grant.is_grant, _verbs(grant.privileges), f"{_kind(grant)}s", schemas, roles)
