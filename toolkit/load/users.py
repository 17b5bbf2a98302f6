"""Locust's users: each runs whole generations on the worker's event loop, and waits for the others at the end."""

from __future__ import annotations

import itertools
from typing import Any, ClassVar

import gevent
from locust import User, task

from toolkit.load.light_client import stream_of
from toolkit.load.settings import Transport
from toolkit.load.worker import Worker


class GenerationUser(User):
    """One user. `make_stream` makes the application's stream; any class with the interface of ProcessEventStream will
    do. None: that of the client which the settings name."""

    abstract = True
    transport: ClassVar[Transport]
    make_stream: ClassVar[Any] = None
    _numbers: ClassVar[itertools.count[int]] = itertools.count(1)

    def on_start(self) -> None:
        """Give the user a number within its worker: its name and its processes follow from it."""
        self.number = next(GenerationUser._numbers)

    @task
    def generate(self) -> None:
        """Run all generations of this user, then idle: Locust would start another user for one that ends."""
        worker = Worker.current()
        for number in itertools.count(1):
            worker.generate(self.number, number, type(self).make_stream or stream_of(worker.settings.client))
            if worker.stopping or number == worker.settings.generations:
                break
        worker.finished(self.number)
        while True:
            gevent.sleep(1)


class RealtimeUser(GenerationUser):
    """Starts and answers over HTTP, listens on Realtime."""

    transport = "realtime"


class WebSocketUser(GenerationUser):
    """Does everything over the legacy WebSocket."""

    transport = "websocket"
