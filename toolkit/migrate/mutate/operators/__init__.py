"""Every mutation operator, listed: to add one, write its function in the file of its kind and name it in OPERATORS."""

from __future__ import annotations

from toolkit.migrate.mutate.operators import access, commands, conditions, tables, values
from toolkit.migrate.mutate.operators.operator import Operator

OPERATORS: tuple[Operator, ...] = (
    *conditions.OPERATORS,
    *values.OPERATORS,
    *access.OPERATORS,
    *tables.OPERATORS,
)
TEXT_OPERATORS = commands.OPERATORS
KINDS = tuple(dict.fromkeys([*(one.kind for one in OPERATORS), *(one.kind for one in TEXT_OPERATORS)]))
