"""Every way of being stopped ends in clean-up, also when somebody is impatient."""

from __future__ import annotations

import asyncio
import os
import signal

import click
import pytest

from toolkit.commands._run import run_async


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_second_signal_does_not_break_off_the_clean_up(number, capsys):
    steps: list[str] = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), number)
            await asyncio.Event().wait()
        finally:
            os.kill(os.getpid(), number)
            for _ in range(20):
                await asyncio.sleep(0.001)
            steps.append("cleaned up")

    with pytest.raises(click.exceptions.Exit) as ended:
        run_async(work())
    assert ended.value.exit_code == 128 + number
    assert steps == ["cleaned up"]
    told = capsys.readouterr().err
    assert "Still ending" in told
    assert f"Stopped by {number.name}" in told


def test_a_signal_that_was_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)

    async def work() -> str:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(0.01)
        return "done"

    try:
        assert run_async(work()) == "done"
    finally:
        signal.signal(signal.SIGINT, before)
