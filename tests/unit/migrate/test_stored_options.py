"""Options in pg_dump's words: those of the server's own go, those that mean the same read the same."""

from __future__ import annotations

import pytest

from toolkit.migrate.catalog.stored_options import alike, without_reserved


@pytest.mark.parametrize(
    ("statement", "plain"),
    [
        ("ALTER TABLE ONLY public.t ALTER COLUMN id SET (pg_attver=22101928);", ""),
        ("\nALTER FOREIGN TABLE ONLY public.t ALTER COLUMN id SET (pg_attver=1)", "\n"),
        (
            'ALTER TABLE ONLY public."T (x)" ALTER COLUMN a SET (pg_attver=1, n_distinct=-0.5);\n',
            'ALTER TABLE ONLY public."T (x)" ALTER COLUMN a SET (n_distinct=-0.5);\n',
        ),
        (
            "CREATE TABLE public.t (\n    id integer\n)\nWITH (pg_relver='a, (b)', fillfactor='70');\n",
            "CREATE TABLE public.t (\n    id integer\n)\nWITH (fillfactor='70');\n",
        ),
        ("CREATE TABLE t (\n    id integer\n)\nWITH (pg_relver='7');\n", "CREATE TABLE t (\n    id integer\n);\n"),
        ("-- Name: t\n--\n\nALTER TABLE ONLY t ALTER COLUMN id SET (pg_attver=1);\n", "-- Name: t\n--\n\n"),
        (
            "CREATE TABLE t ()\nWITH (toast.pg_relver='7', toast.autovacuum_enabled=off);",
            "CREATE TABLE t ()\nWITH (toast.autovacuum_enabled=off);",
        ),
        ("CREATE VIEW v WITH (pg_relver='7') AS\n SELECT 1;", "CREATE VIEW v AS\n SELECT 1;"),
        (
            "CREATE UNIQUE INDEX i ON t USING gin (a) WITH (pg_relver='7', fastupdate=off) WHERE (a > 0);",
            "CREATE UNIQUE INDEX i ON t USING gin (a) WITH (fastupdate=off) WHERE (a > 0);",
        ),
    ],
)
def test_an_option_of_the_servers_own_is_left_out(statement: str, plain: str) -> None:
    assert without_reserved(statement) == plain


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE FUNCTION f() RETURNS int AS $$\nALTER TABLE ONLY t ALTER COLUMN a SET (pg_attver=1);\n$$;",
        "COMMENT ON TABLE t IS 'made WITH (pg_relver=1)';",
        "ALTER TABLE ONLY t ALTER COLUMN a SET (n_distinct=5);",
        "CREATE TABLE t (\n    id integer\n)\nWITH (fillfactor='70', toast.autovacuum_enabled=off);",
        "CREATE INDEX i ON t USING gist (a public.gist_trgm_ops (siglen='32'));",
        "ALTER TABLE t OWNER TO pg_database_owner;",
    ],
)
def test_whatever_else_stands_stays_as_it_is(statement: str) -> None:
    assert without_reserved(statement) == statement


def test_options_that_mean_the_same_read_the_same() -> None:
    one = "CREATE VIEW v WITH (security_invoker='on', check_option=local) AS\n SELECT 1;"
    other = "CREATE VIEW v WITH (check_option=local, security_invoker='true', pg_relver='7') AS\n SELECT 1;"
    assert alike(one) == alike(other) != alike(one.replace("'on'", "off"))
    assert alike("CREATE TABLE t ()\nWITH (fillfactor='1');") != alike("CREATE TABLE t ()\nWITH (fillfactor='true');")
    assert alike("ALTER TABLE t SET (vacuum_index_cleanup=auto);") == "ALTER TABLE t SET (vacuum_index_cleanup=auto);"
