"""Which extensions files create: by them the server is chosen on which they are tried. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from toolkit.migrate.folder.files import Folder
from toolkit.migrate.folder.statements import Statement
from toolkit.sql.bodies import run_by
from toolkit.sql.parse import nodes


def extensions_of(folder: Folder) -> frozenset[str]:
    """The names of the extensions that the files of a folder create, also in DO blocks."""
    return created_by(statement for migration in folder.migrations for statement in migration.up.statements)


def created_by(statements: Iterable[Statement]) -> frozenset[str]:
    """The same of statements."""
    trees = (statement.tree for statement in statements if statement.tree is not None)
    return frozenset(
        node.extname for tree in trees for node in run_by(tree) if isinstance(node, nodes.CreateExtensionStmt)
    )
