"""What is text is never read as SQL, however it is quoted; and what is SQL is read however it is written."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.migrate.lint.conftest import BASE, Look, bad, told
from tests.unit.migrate.lint.test_planted import CASES
from toolkit.migrate.folder.statements import SplitError, split
from toolkit.migrate.lint.reading.statements import facts_of

# Every defect that one file can hold, as text. What a header says is read as a header wherever a file begins.
DEFECTS = sorted(
    {case.planted if isinstance(case.planted, str) else case.planted.get("2_x.sql", "") for case in CASES} - {""}
)
WRAPPINGS: dict[str, Callable[[str], str]] = {
    "block comment": lambda text: "/* " + text.replace("/*", "").replace("*/", "") + " */",
    "line comments": lambda text: "\n".join(f"-- . {line}" for line in text.splitlines()),
    "string": lambda text: "select '" + text.replace("'", "''") + "';",
    "string with escapes": lambda text: "select E'" + text.replace("\\", "\\\\").replace("'", "\\'") + "';",
    "dollar quotes": lambda text: f"select $lint${text}$lint$;",
    "quoted name": lambda text: 'select 1 as "' + text.replace('"', '""') + '";',
    "comment on": lambda text: f"comment on table public.notes is $lint${text}$lint$;",
    "text in a function": lambda text: (
        "create function public.told() returns text language sql set search_path = '' as $fn$ select $lint$"
        + text
        + "$lint$ $fn$;"
    ),
    "text in a block": lambda text: f"do $do$ begin raise notice '%', $lint${text}$lint$; end $do$;",
    "default of a column": lambda text: f"alter table public.notes add column why text default $lint${text}$lint$;",
}
COMFORTABLE = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@COMFORTABLE
@given(defect=st.sampled_from(DEFECTS), around=st.sampled_from(["", "select 1;\n", "/* ; */ "]))
def test_a_defect_that_is_only_text_is_no_defect(wrapping: str, defect: str, around: str, look: Look) -> None:
    text = BASE + around + WRAPPINGS[wrapping](defect) + "\nselect 2;"
    assert told(look({"1_base.sql": text})) == set()


_FRAGMENTS = st.sampled_from(
    [
        "create",
        "table",
        "policy",
        "on",
        "for",
        "select",
        "from",
        "using",
        "(",
        ")",
        ",",
        ";",
        ".",
        "to",
        "anon",
        "auth",
        "uid",
        "'text'",
        "'it''s'",
        "E'\\''",
        '"Name"',
        '"a""b"',
        "$$ body; $$",
        "$x$ $$ $x$",
        "-- comment\n",
        "/* c /* d */ */",
        "::",
        "=",
        "->>",
        "1.5",
        "publication",
        "alter",
        "grant",
        "view",
        "as",
        "with",
        "function",
        "trigger",
        "begin",
        "end",
        "atomic",
        "or",
        "replace",
        "drop",
        "add",
        "column",
        "schema",
        "default",
        "privileges",
        "in",
        "all",
        "rename",
        "security",
        "definer",
        "do",
        "execute",
        "revoke",
        "insert",
        "into",
        "max",
        "+",
        "\n",
    ]
)


@COMFORTABLE
@given(fragments=st.lists(_FRAGMENTS, max_size=40))
def test_any_sequence_of_tokens_is_read_without_an_error(fragments: list[str]) -> None:
    try:
        statements = split(" ".join(fragments))
    except SplitError:
        return
    for statement in statements:
        assert statement.tree is None or isinstance(list(facts_of(statement.tree, "1_a.sql")), list)


@COMFORTABLE
@given(fragments=st.lists(_FRAGMENTS, max_size=40))
def test_a_folder_of_nonsense_is_judged_without_an_error(fragments: list[str], look: Look) -> None:
    findings = look({"1_base.sql": BASE, "2_x.sql": " ".join(fragments)})
    assert all(f.remedy and f.why and f.at.line > 0 for f in findings if f.rule != "rollback-missing")


STRANGER = """
-- Written by pg_dump, a dashboard and three people.
SET statement_timeout = 0;
SET client_encoding = 'UTF8';
CREATE SCHEMA IF NOT EXISTS "app";
CREATE TYPE "app"."Mood" AS ENUM ('DROP PUBLICATION supabase_realtime;', 'ok');
CREATE TABLE IF NOT EXISTS "public"."Order Items" (
    "Id" uuid DEFAULT "gen_random_uuid"() NOT NULL,
    "User" "text" COLLATE "C" NOT NULL,
    "Price" numeric(10, 2) DEFAULT 0.0 CHECK ("Price" >= 0),
    "Tags" "text"[] DEFAULT '{}'::"text"[],
    CONSTRAINT "Order Items_pkey" PRIMARY KEY ("Id")
);
ALTER TABLE "public"."Order Items" OWNER TO "postgres";
ALTER TABLE "public"."Order Items" ENABLE ROW LEVEL SECURITY;
CREATE OR REPLACE FUNCTION "public"."my_items"("who" "text" DEFAULT 'x'::"text") RETURNS SETOF "public"."Order Items"
    LANGUAGE "sql" STABLE SECURITY DEFINER
    SET "search_path" TO ''
    BEGIN ATOMIC
  SELECT * FROM "public"."Order Items" WHERE "User" = "who" AND CASE WHEN true THEN true ELSE false END;
  SELECT * FROM "public"."Order Items";
END;
REVOKE ALL ON FUNCTION "public"."my_items"("who" "text") FROM PUBLIC;
REVOKE ALL ON FUNCTION "public"."my_items"("who" "text") FROM "anon";
CREATE POLICY "Users can read ""their"" items" ON "public"."Order Items" AS PERMISSIVE FOR SELECT
    TO "authenticated" USING ((( SELECT ("auth"."jwt"() ->> 'sub'::"text")) = "User"));
CREATE OR REPLACE VIEW "public"."Cheap" WITH ("security_invoker"='true') AS
 SELECT "o"."Id" FROM "public"."Order Items" "o" WHERE ("o"."Price" < (1)::numeric);
ALTER PUBLICATION "supabase_realtime" ADD TABLE ONLY "public"."Order Items";
"""


def test_a_dump_of_a_healthy_schema_has_no_finding_but_its_own_advice(look: Look) -> None:
    findings = look({"20240101000000_remote_schema.sql": STRANGER})
    assert bad(findings) == set()
    assert {f.rule for f in findings} == {"create-table-if-not-exists"}


@pytest.mark.parametrize(
    ("good", "wrong", "rule"),
    [
        ("""ALTER TABLE "public"."Order Items" ENABLE ROW LEVEL SECURITY;""", "", "table-without-rls"),
        (""" TO "authenticated" """.rstrip(), "", "policy-without-role"),
        ("""    SET "search_path" TO ''\n""", "", "definer-without-search-path"),
        (
            """REVOKE ALL ON FUNCTION "public"."my_items"("who" "text") FROM PUBLIC;""",
            "",
            "definer-executable-by-public",
        ),
        ("""REVOKE ALL ON FUNCTION "public"."my_items"("who" "text") FROM "anon";""", "", "definer-executable-by-anon"),
        ("""='true'""", "='false'", "view-without-security-invoker"),
        ("""( SELECT ("auth"."jwt"() ->> 'sub'::"text"))""", """("auth"."uid"())::"text\"""", "auth-uid-as-text"),
        ("""( SELECT ("auth"."jwt"() ->> 'sub'::"text"))""", """( SELECT "auth"."uid"())""", "auth-uid-text-column"),
        ("""ADD TABLE ONLY""", "SET TABLE", "publication-set-table"),
        ("""CONSTRAINT "Order Items_pkey" PRIMARY KEY ("Id")""", """CHECK (true)""", "published-without-key"),
    ],
)
def test_a_defect_in_a_strangers_spelling_is_found(good: str, wrong: str, rule: str, look: Look) -> None:
    assert good in STRANGER
    assert rule in {f.rule for f in look({"20240101000000_remote_schema.sql": STRANGER.replace(good, wrong)})}
