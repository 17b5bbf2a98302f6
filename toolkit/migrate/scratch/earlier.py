"""The state before the first version that is looked at: earlier ones are only applied, or their state is a kept one."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from toolkit.errors import ToolkitError
from toolkit.migrate.folder.files import Folder
from toolkit.migrate.run.api import migrate_up
from toolkit.migrate.run.run_model import Options
from toolkit.migrate.scratch import kept
from toolkit.migrate.scratch.databases import Scratch, embedded_scratch
from toolkit.migrate.scratch.origin import Origin
from toolkit.migrate.scratch.platform import make_partitions
from toolkit.migrate.scratch.start import EMPTY, Start, empty_project
from toolkit.postgres.cluster import MIGRATOR
from toolkit.postgres.connection import connected
from toolkit.postgres.lifetime import throwaway_cluster, uninterrupted
from toolkit.report.record import counted


@dataclass(frozen=True)
class Begun:
    """A server with the state to start from. `applied`: whether it is that after the earlier versions."""

    scratch: Scratch
    start: Start
    applied: bool


async def after_earlier(
    scratch: Scratch, start: Start, folder: Folder, earlier: Sequence[str], options: Options
) -> Begun:
    """Apply earlier versions to a copy of a start; where they do not apply, the start itself is what there is."""
    if not earlier:
        return Begun(scratch, start, applied=True)
    name = await scratch.create(start.template)
    if await _applies(scratch, name, folder, earlier, options):
        return Begun(scratch, _after(replace(start, template=name), earlier), applied=True)
    await scratch.drop(name)
    return Begun(scratch, start, applied=False)


@asynccontextmanager
async def begun_empty(
    origin: Origin,
    folder: Folder,
    earlier: Sequence[str],
    options: Options,
    *,
    cached: bool,
    say: Callable[[str], None],
) -> AsyncIterator[Begun]:
    """A server on which `earlier` versions of the folder are applied to an empty project: as a kept state has it, or
    made and then kept. `say` is told where a kept state cannot be used."""
    wanted = await origin.wanted(folder)
    where = origin.embedded_bin_dir(wanted) if cached else None
    if where is None:
        async with origin.server(wanted) as scratch:
            yield await after_earlier(scratch, await origin.start(scratch, wanted.mode), folder, earlier, options)
        return
    replayed = [one for one in folder.migrations if one.version in earlier]
    key = await asyncio.to_thread(kept.key_of, replayed, where, wanted.mode)
    found: kept.Kept | None = None
    note = f"{_named(earlier)} is a kept one, made of the same files, platform, server and toolkit."
    try:
        found = await asyncio.to_thread(kept.find, key)
    except kept.Damaged as damaged:
        say(f"A kept state is damaged and is made anew: {damaged}.")
        note = f"{_named(earlier)} was made anew: the kept one was damaged ({damaged})."
    else:
        note = note if found else ""
    made = Start("", EMPTY[wanted.mode], (note,) if note else ())
    try:
        if found is None:
            async with throwaway_cluster(where) as cluster:
                scratch = Scratch(cluster.admin_dsn(), MIGRATOR, throwaway=True)
                template = (await empty_project(scratch, wanted.mode)).template
                if not await _applies(scratch, template, folder, earlier, options):
                    found = None
                else:
                    await uninterrupted(cluster.stop)
                    found = await uninterrupted(functools.partial(kept.keep, cluster, key, template))
    except OSError as error:
        say(f"States are not kept: {error}.")
        cached = False
    if found is None:
        # Without the earlier versions, or without a place to keep anything.
        again = begun_empty(origin, folder, earlier if not cached else (), options, cached=cached, say=say)
        async with again as begun:
            yield replace(begun, applied=begun.applied and not cached)
        return
    async with embedded_scratch(where, functools.partial(kept.unpack, found)) as scratch:
        start = replace(made, template=found.template)
        async with connected(scratch.admin(start.template)) as conn:
            await make_partitions(conn)
        yield Begun(scratch, _after(start, earlier) if earlier else start, applied=True)


async def _applies(scratch: Scratch, name: str, folder: Folder, earlier: Sequence[str], options: Options) -> bool:
    if not earlier:
        return True
    try:
        result = await migrate_up(scratch.dsn(name), folder, to=earlier[-1], include_all=True, options=options)
    except ToolkitError:
        return False
    return result.ok


def _after(start: Start, earlier: Sequence[str]) -> Start:
    return replace(start, described=f"{start.described} with {counted(len(earlier), 'earlier version')} applied")


def _named(earlier: Sequence[str]) -> str:
    return f"The state after {earlier[-1]}" if earlier else "The empty project"
