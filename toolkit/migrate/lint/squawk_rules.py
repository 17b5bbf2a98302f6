"""What each rule of squawk is worth here: one severity for migrations, one for rollbacks, and why.

squawk calls nearly everything a warning. Here a rule is an error when it always harms a live system, a warning when it
stops traffic on a table that holds rows, an info when it is advice, and off when following it would do harm with this
runner or says what a rule of this linter says better.
"""

from __future__ import annotations

from dataclasses import dataclass

from toolkit.migrate.lint.reading.findings import Severity

OFF, INFO, WARNING, ERROR = Severity.OFF, Severity.INFO, Severity.WARNING, Severity.ERROR
PREFIX = "squawk/"


@dataclass(frozen=True)
class Grade:
    """`up` and `rollback` are the severities there; `opt_in` says that squawk has to be asked for the rule."""

    up: Severity
    rollback: Severity
    reason: str
    opt_in: bool = False


_UNDOES = "a rollback is there to take away; whether it declares what it destroys is checked by rollback-* rules"
_CLIENTS = "old clients still run while this applies, and fail on what is gone"
_PLATFORM = "told precisely by this linter's own rules"
_NOISE = "every migration does this; told of each, it would say nothing"

UNKNOWN = Grade(WARNING, WARNING, "a rule that this toolkit does not know yet, of a newer squawk")

GRADES: dict[str, Grade] = {
    # What stops traffic.
    "require-concurrent-index-creation": Grade(WARNING, WARNING, "writers wait until the index is built"),
    "require-concurrent-index-deletion": Grade(WARNING, INFO, "readers and writers wait behind the lock it waits for"),
    "require-concurrent-partition-detach": Grade(WARNING, WARNING, "readers and writers of the parent wait"),
    "require-concurrent-reindex": Grade(WARNING, WARNING, "writers wait until the index is built"),
    "constraint-missing-not-valid": Grade(WARNING, WARNING, "the whole table is read while writers wait"),
    "adding-foreign-key-constraint": Grade(WARNING, WARNING, "both tables are locked against writes during the scan"),
    "adding-not-nullable-field": Grade(WARNING, WARNING, "the whole table is read under the strongest lock"),
    "adding-field-with-default": Grade(WARNING, WARNING, "a volatile default rewrites the table"),
    "adding-serial-primary-key-field": Grade(WARNING, WARNING, "the table is rewritten under the strongest lock"),
    "disallowed-unique-constraint": Grade(WARNING, WARNING, "an index is built under the strongest lock"),
    "changing-column-type": Grade(WARNING, WARNING, "the table is rewritten, and clients see another type"),
    "prefer-repack": Grade(WARNING, WARNING, "VACUUM FULL and CLUSTER lock the table while they copy it", True),
    # What breaks clients or loses data.
    "adding-required-field": Grade(ERROR, ERROR, "it fails on a table with rows, and breaks inserts of old clients"),
    "ban-drop-database": Grade(ERROR, ERROR, "no migration of a project has to"),
    "ban-truncate-cascade": Grade(ERROR, ERROR, "it empties tables that the statement does not name"),
    "ban-drop-column": Grade(WARNING, OFF, f"{_CLIENTS}; in rollbacks: {_UNDOES}"),
    "ban-drop-table": Grade(WARNING, OFF, f"{_CLIENTS}; in rollbacks: {_UNDOES}"),
    "ban-drop-schema": Grade(WARNING, OFF, f"{_CLIENTS}; in rollbacks: {_UNDOES}"),
    "ban-drop-view": Grade(WARNING, OFF, f"{_CLIENTS}; in rollbacks: {_UNDOES}"),
    "ban-drop-function": Grade(INFO, OFF, f"{_CLIENTS}; in rollbacks: {_UNDOES}"),
    "ban-drop-type": Grade(INFO, OFF, f"{_CLIENTS}; in rollbacks: {_UNDOES}"),
    "ban-drop-domain": Grade(INFO, OFF, f"{_CLIENTS}; in rollbacks: {_UNDOES}"),
    "ban-drop-sequence": Grade(WARNING, OFF, f"the numbers it gave out are forgotten; in rollbacks: {_UNDOES}"),
    "ban-drop-extension": Grade(WARNING, INFO, "functions and types of the extension go with it"),
    "ban-drop-constraint": Grade(INFO, OFF, f"a guarantee that clients rely on ends; in rollbacks: {_UNDOES}"),
    "ban-drop-not-null": Grade(INFO, OFF, "clients that never saw a null may see one"),
    "ban-drop-default": Grade(INFO, OFF, "inserts that relied on it change or fail"),
    "ban-drop-generated-expression": Grade(WARNING, INFO, "the column stops following its sources"),
    "ban-drop-trigger": Grade(INFO, OFF, f"what it wrote is not written any more; in rollbacks: {_UNDOES}", True),
    "ban-alter-identity": Grade(INFO, INFO, "inserts with or without a value behave differently"),
    "ban-set-schema": Grade(WARNING, WARNING, _CLIENTS),
    "renaming-column": Grade(WARNING, WARNING, _CLIENTS),
    "renaming-table": Grade(WARNING, WARNING, _CLIENTS),
    "renaming-object": Grade(INFO, INFO, _CLIENTS),
    "ban-disable-trigger": Grade(WARNING, WARNING, "changes made meanwhile leave no events, and nobody notices", True),
    "ban-alter-role-options": Grade(WARNING, WARNING, "roles belong to the cluster; BYPASSRLS opens every table", True),
    "ban-alter-system-options": Grade(WARNING, WARNING, "it changes the server for all databases", True),
    # Advice about types and names.
    "prefer-bigint-over-int": Grade(INFO, INFO, "right for ids that grow; counters and ports stay small"),
    "prefer-bigint-over-smallint": Grade(INFO, INFO, "right for ids that grow; a rating from 1 to 5 stays small"),
    "prefer-identity": Grade(INFO, INFO, "serial leaves the sequence's grants and owner to be kept by hand"),
    "prefer-text-field": Grade(INFO, INFO, "a length in the type can only be changed under the strongest lock"),
    "prefer-timestamp-tz": Grade(WARNING, WARNING, "without a zone the same moment differs between sessions"),
    "ban-char-field": Grade(INFO, INFO, "char(n) pads with spaces, which comparisons then ignore"),
    "ban-create-domain-with-constraint": Grade(INFO, INFO, "its constraint cannot be changed without a scan"),
    "ban-alter-domain-with-add-constraint": Grade(WARNING, WARNING, "every table that uses it is read under a lock"),
    "require-enum-value-ordering": Grade(INFO, INFO, "comparisons follow the order in which values were added"),
    "identifier-too-long": Grade(WARNING, WARNING, "Postgres cuts it, and two long names may become one", True),
    "ban-duplicate-column-assignments": Grade(ERROR, ERROR, "Postgres refuses the statement"),
    "syntax-error": Grade(INFO, INFO, "squawk cannot look at what follows; what Postgres refuses is told by itself"),
    # What the runner sees to.
    "require-lock-timeout": Grade(INFO, OFF, "`toolkit migrate up` sets one and tries again, the Supabase CLI not"),
    "require-statement-timeout": Grade(
        OFF,
        OFF,
        "the runner has a deadline; a timeout of the file's own would end a "
        "concurrent build and leave an INVALID index",
    ),
    "require-timeout-settings": Grade(OFF, OFF, "the old name of the two rules above"),
    "prefer-robust-stmts": Grade(
        OFF,
        OFF,
        "IF NOT EXISTS accepts what is there in any shape, an INVALID index too; "
        "files are transactions here, and others are journaled by statement",
    ),
    "ban-concurrent-index-creation-in-transaction": Grade(OFF, OFF, "told as refused-file"),
    "transaction-nesting": Grade(OFF, OFF, "told as refused-file", True),
    "ban-uncommitted-transaction": Grade(OFF, OFF, "told as refused-file", True),
    "require-table-schema": Grade(INFO, INFO, "an unqualified name goes where the search_path leads"),
    # What this linter says itself.
    "ban-replica-identity": Grade(OFF, OFF, _PLATFORM, True),
    "ban-alter-row-level-security": Grade(OFF, OFF, _PLATFORM, True),
    "ban-create-policy": Grade(OFF, OFF, _PLATFORM, True),
    "ban-drop-policy": Grade(OFF, OFF, _PLATFORM, True),
    "ban-alter-policy-condition": Grade(OFF, OFF, _PLATFORM, True),
    "ban-alter-policy-roles": Grade(OFF, OFF, _PLATFORM, True),
    "ban-alter-view-options": Grade(OFF, OFF, _PLATFORM, True),
    "ban-alter-function-options": Grade(OFF, OFF, _PLATFORM, True),
    "ban-revoke": Grade(OFF, OFF, "taking rights back is what these migrations are asked to do", True),
    # What every migration does.
    "ban-add-column": Grade(OFF, OFF, _NOISE, True),
    "ban-add-composite-attribute": Grade(INFO, INFO, "clients that read the type by position break", True),
    "ban-add-enum-value": Grade(OFF, OFF, "that it cannot be taken back is told as enum-value-stays", True),
    "ban-alter-database-options": Grade(INFO, INFO, "it holds for sessions to come; no dump of a schema has it", True),
    "ban-alter-extension": Grade(INFO, INFO, "an update may change functions that are in use", True),
    "ban-alter-generated-expression": Grade(WARNING, WARNING, "the table is rewritten under the strongest lock", True),
    "ban-alter-sequence-values": Grade(WARNING, WARNING, "numbers may be given out twice", True),
    "ban-detach-inheritance": Grade(INFO, INFO, "rows vanish from the parent", True),
    "ban-drop-index": Grade(OFF, OFF, "told where it locks, by require-concurrent-index-deletion", True),
    "ban-new-write-restriction": Grade(OFF, OFF, _NOISE, True),
    "ban-replace-view-function": Grade(OFF, OFF, _NOISE, True),
    "ban-set-default": Grade(OFF, OFF, _NOISE, True),
}

ASKED = tuple(
    sorted(name for name, grade in GRADES.items() if grade.opt_in and max(grade.up, grade.rollback) > Severity.OFF)
)


def grade_of(name: str) -> Grade:
    """A rule's grade; a rule nobody graded is a warning."""
    return GRADES.get(name, UNKNOWN)
