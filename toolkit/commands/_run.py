"""Runs a command's coroutine so that every way of being stopped ends in clean-up."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

import click

T = TypeVar("T")
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`; Ctrl-C, SIGTERM and SIGHUP cancel it, and when it has cleaned up the exit code is
    128 + signal. A second one changes nothing: a clean-up that is broken off would leave servers behind."""
    received: list[signal.Signals] = []

    async def main() -> T:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None

        def stop(number: signal.Signals) -> None:
            received.append(number)
            if len(received) == 1:
                task.cancel()
            else:
                click.echo("Still ending what was started; that is soon over.", err=True)

        for number in _STOPPING:
            if signal.getsignal(number) is signal.SIG_IGN:
                continue  # whoever started us did not want it to stop us
            with contextlib.suppress(NotImplementedError, ValueError):
                loop.add_signal_handler(number, stop, number)
        return await work

    try:
        return asyncio.run(main())
    except asyncio.CancelledError:
        if not received:
            raise
        click.echo(f"Stopped by {received[0].name}; everything that was started has ended.", err=True)
        raise click.exceptions.Exit(128 + received[0]) from None
