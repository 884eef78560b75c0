"""Waits that a test forbids, and notes: what is to happen at once neither asks a network nor sleeps."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Any, NoReturn

import pytest


@dataclass(frozen=True)
class Tries:
    """What the code under test has tried.

    Attributes:
        hosts: The names that it looked up, each of which failed as on a machine without a network.
        sleeps: The seconds that the test's own thread wanted to sleep and did not.
    """

    hosts: list[str] = field(default_factory=list)
    sleeps: list[float] = field(default_factory=list)

    @classmethod
    def instead_of_waiting(cls, patch: pytest.MonkeyPatch) -> Tries:
        """Notes look-ups and sleeps from now on, until the patch is undone."""
        made, own, sleep = cls(), threading.current_thread(), time.sleep

        def look_up(host: Any, *_: Any, **__: Any) -> NoReturn:
            made.hosts.append(str(host))
            raise socket.gaierror(socket.EAI_AGAIN, "there is no network in this test")

        def note(seconds: float) -> None:
            if threading.current_thread() is own:
                made.sleeps.append(seconds)
            else:
                sleep(seconds)

        patch.setattr(socket, "getaddrinfo", look_up)
        patch.setattr(time, "sleep", note)
        return made
