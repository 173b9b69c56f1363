"""What systemd hears, over a real datagram socket."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeml.clock import ManualClock
from edgeml.daemon.notify import Notifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(60)
        yield listening


def _environment(manager: socket.socket, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": manager.getsockname(), **more}


def test_ready_and_stopping_carry_a_status(manager: socket.socket) -> None:
    notifier = Notifier(_environment(manager), ManualClock())
    notifier.ready("activity version 1")
    notifier.stopping("ended")
    assert manager.recv(256) == b"READY=1\nSTATUS=activity version 1"
    assert manager.recv(256) == b"STOPPING=1\nSTATUS=ended"


def test_a_reload_says_when_it_began(manager: socket.socket) -> None:
    Notifier(_environment(manager), ManualClock(monotonic_s=2.5)).reloading()
    assert manager.recv(256) == b"RELOADING=1\nMONOTONIC_USEC=2500000"


def test_the_watchdog_is_fed_three_times_in_its_interval_at_most(manager: socket.socket) -> None:
    clock = ManualClock(monotonic_s=1.0)
    notifier = Notifier(_environment(manager, WATCHDOG_USEC="3000000"), clock)
    assert notifier.watched
    for _ in range(31):
        notifier.alive()
        clock.advance(0.1)
    manager.setblocking(False)
    assert [manager.recv(256) for _ in range(4)] == [b"WATCHDOG=1"] * 4
    with pytest.raises(BlockingIOError):
        manager.recv(256)


def test_a_watchdog_meant_for_another_process_is_not_fed(manager: socket.socket) -> None:
    more = {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid() + 1)}
    assert not Notifier(_environment(manager, **more), ManualClock()).watched


def test_an_abstract_socket_is_understood() -> None:
    name = f"edgeml-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + name)
        listening.settimeout(60)
        Notifier({"NOTIFY_SOCKET": "@" + name}, ManualClock()).ready("x")
        assert listening.recv(64).startswith(b"READY=1")


def test_started_by_hand_or_with_the_manager_gone_it_does_nothing(tmp_path: Path) -> None:
    Notifier({}, ManualClock()).ready("x")
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}, ManualClock()).ready("x")
