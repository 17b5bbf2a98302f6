"""What only Postgres can decide: whether a role may see a row.

Everything is asked in batches. Row visibility is asked with the subscriber's role and claims in
force, for as long as one statement: `set_config(…, true)` ends with the statement's transaction,
so no connection returns to the pool with a client's role.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import orjson

from reference_server.replication.catalog import Catalog, Pool
from reference_server.replication.facts import TableFacts, quote_ident

# Identities asked about in one call; more calls run side by side on the pool.
IDENTITIES_A_CALL = 50
# A row can reach us before its transaction is visible to others: the WAL is flushed first.
VISIBLE_WITHIN_S = 10.0
VISIBLE_RETRY_S = 0.001

# Created in each connection of the pool. One call asks for many identities; an error belongs to
# the identity whose policies raised it and to no other.
SESSION_FUNCTION = """
create or replace function pg_temp.visible_rows(query text, roles text[], claims text[], keys jsonb[])
returns table (who int, ordinals int[], snapshot text, failure text) language plpgsql as $$
begin
  for i in 1 .. cardinality(roles) loop
    who := i; ordinals := null; failure := null; snapshot := null;
    begin
      perform pg_catalog.set_config('role', roles[i], true),
              pg_catalog.set_config('request.jwt.claims', claims[i], true);
      execute query into ordinals, snapshot using keys[i];
    exception when others then
      failure := sqlerrm;
    end;
    perform pg_catalog.set_config('role', 'none', true);
    return next;
  end loop;
end $$
"""


class QuestionFailed(RuntimeError):
    """Postgres could not say whether a row may be seen."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The role and the token's claims, as JSON text, with which rows are looked at."""

    role: str
    claims: str


@dataclass
class VisibilityQuestion:
    """Rows of one table to be looked at by several identities. Keys are primary keys, as text."""

    facts: TableFacts
    xids: set[int] = field(default_factory=set)
    wanted: dict[Identity, set[tuple[str, ...]]] = field(default_factory=dict)


@dataclass
class Visibility:
    """Asks Postgres about rows. Each statement has `deadline_s` seconds."""

    pool: Pool
    catalog: Catalog
    deadline_s: float = 10.0

    async def answers(self) -> None:
        """Raises the error that keeps the database from answering."""
        await self.pool.fetchval("select true", timeout=self.deadline_s)

    # -- rows ---------------------------------------------------------------------------------

    async def visible(self, question: VisibilityQuestion) -> dict[Identity, set[tuple[str, ...]] | QuestionFailed]:
        """For each identity the keys it may see now, or why that could not be found out.

        Waits until the transactions `question.xids` are visible to others. Raises QuestionFailed when
        they do not become so, asyncpg and OS errors when the database does not answer.
        """
        pending = {identity: sorted(keys) for identity, keys in question.wanted.items()}
        answers: dict[Identity, set[tuple[str, ...]] | QuestionFailed] = {}
        query = visibility_query(question.facts)
        try:
            async with asyncio.timeout(VISIBLE_WITHIN_S):
                while pending:
                    for identity, answer in (await self._visible_once(query, pending, question.xids)).items():
                        answers[identity] = answer
                        del pending[identity]
                    if pending:
                        await asyncio.sleep(VISIBLE_RETRY_S)
        except TimeoutError:
            raise QuestionFailed(
                f"rows of {question.facts.quoted} were in the WAL but not visible within {VISIBLE_WITHIN_S:g} s; "
                "is a commit waiting for a synchronous standby?"
            ) from None
        return answers

    async def _visible_once(
        self, query: str, pending: Mapping[Identity, Sequence[tuple[str, ...]]], xids: Iterable[int]
    ) -> dict[Identity, set[tuple[str, ...]] | QuestionFailed]:
        identities = list(pending)
        chunks = [identities[at : at + IDENTITIES_A_CALL] for at in range(0, len(identities), IDENTITIES_A_CALL)]
        results = await asyncio.gather(*(self._chunk(query, chunk, pending, xids) for chunk in chunks))
        return {identity: answer for answers in results for identity, answer in answers.items()}

    async def _chunk(
        self,
        query: str,
        identities: list[Identity],
        pending: Mapping[Identity, Sequence[tuple[str, ...]]],
        xids: Iterable[int],
    ) -> dict[Identity, set[tuple[str, ...]] | QuestionFailed]:
        rows = await self._call(query, identities, pending)
        answers: dict[Identity, set[tuple[str, ...]] | QuestionFailed] = {}
        for row in rows:
            identity = identities[row["who"] - 1]
            if row["failure"] is not None:
                answers[identity] = QuestionFailed(row["failure"])
            elif not any(in_progress(xid, row["snapshot"]) for xid in xids):
                answers[identity] = {pending[identity][at - 1] for at in row["ordinals"]}
        return answers

    async def _call(
        self, query: str, identities: list[Identity], pending: Mapping[Identity, Sequence[tuple[str, ...]]]
    ) -> list[Any]:
        try:
            return await self.pool.fetch(
                "select * from pg_temp.visible_rows($1, $2::text[], $3::text[], $4::jsonb[])",
                query,
                [identity.role for identity in identities],
                [identity.claims for identity in identities],
                [orjson.dumps(pending[identity]).decode() for identity in identities],
                timeout=self.deadline_s,
            )
        except asyncpg.QueryCanceledError:
            if len(identities) > 1:  # one slow policy must not keep the others from their rows
                return [
                    {**dict(row), "who": at + 1}
                    for at, identity in enumerate(identities)
                    for row in await self._call(query, [identity], pending)
                ]
            return [{"who": 1, "ordinals": None, "snapshot": None, "failure": "the row policies took too long"}]

    async def generated(
        self, facts: TableFacts, names: Sequence[str], columns: Sequence[str], rows: Sequence[Sequence[str | None]]
    ) -> list[dict[str, str | None]]:
        """Values of the generated columns `names`, which pgoutput leaves out, for rows of `columns`."""
        wanted = [facts.columns[name] for name in names]
        inputs = "".join(
            f", (k.v ->> {at})::{facts.columns[name].type_sql} as {quote_ident(name)}"
            for at, name in enumerate(columns)
        )
        outputs = ", ".join(f"({column.generated})::{column.type_sql}::text" for column in wanted)
        found = await self.pool.fetch(
            f"select x.__row, array[{outputs}] as made from (select k.__row{inputs} "  # noqa: S608 - catalog names
            f"from jsonb_array_elements($1::jsonb) with ordinality as k (v, __row)) as x order by x.__row",
            orjson.dumps(rows).decode(),
            timeout=self.deadline_s,
        )
        return [dict(zip((column.name for column in wanted), row["made"], strict=True)) for row in found]


def in_progress(xid: int, snapshot: str) -> bool:
    """Whether the transaction with this 32-bit id was still running in the snapshot `xmin:xmax:running`."""
    _, xmax_text, running = snapshot.split(":")
    xmax = int(xmax_text)
    full = xmax & ~0xFFFFFFFF | xid
    if full - xmax > 1 << 31:
        full -= 1 << 32
    elif xmax - full > 1 << 31:
        full += 1 << 32
    return full >= xmax or str(full) in running.split(",")


def visibility_query(facts: TableFacts) -> str:
    """Ordinals of the keys whose rows can be seen, and the snapshot that was looked at.

    Each key becomes one look-up in the primary key's index, and the policies run for that row alone: a scalar
    subquery with a limit is not turned into a join. The keys are cast before, in a materialized query, because
    under row security a cast inside the comparison may keep Postgres from using the index (15.20 scans the table).
    """
    casts = ", ".join(f"(e.v ->> {at})::{facts.columns[name].type_sql} as k{at}" for at, name in enumerate(facts.key))
    key = " and ".join(f"t.{quote_ident(name)} = k.k{at}" for at, name in enumerate(facts.key))
    found = f"select true from {facts.quoted} as t where {key} limit 1"  # noqa: S608 - identifiers are quoted
    return (
        f"with k as materialized (select {casts}, e.n "  # noqa: S608
        "from pg_catalog.jsonb_array_elements($1) with ordinality as e (v, n)) "
        f"select array(select k.n::int from k where ({found})), pg_catalog.pg_current_snapshot()::text"
    )
