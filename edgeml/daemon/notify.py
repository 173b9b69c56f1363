"""Tells systemd how the service is: the datagrams of sd_notify(3), nothing more.

Started by hand there is no NOTIFY_SOCKET, and everything here does nothing.
"""

import os
import socket
from collections.abc import Mapping

from edgeml.clock import Clock


class Notifier:
    """Speaks to the service manager that started this process, if one did.

    Args:
        environment: where NOTIFY_SOCKET and WATCHDOG_USEC stand.
        clock: paces the watchdog's messages.
    """

    def __init__(self, environment: Mapping[str, str], clock: Clock) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._clock = clock
        self._interval_s = _watchdog_s(environment) / 3
        self._due_s = 0.0

    @property
    def watched(self) -> bool:
        """Whether the service manager restarts this process when it falls silent."""
        return self._interval_s > 0

    def ready(self, status: str) -> None:
        """The service does its work from now on."""
        self._send(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """The configuration is being read again; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={int(self._clock.monotonic_s() * 1e6)}")

    def stopping(self, status: str) -> None:
        """The service is ending."""
        self._send(f"STOPPING=1\nSTATUS={status}")

    def alive(self) -> None:
        """Feed the watchdog, three times in its interval at most."""
        if not self.watched:
            return
        now_s = self._clock.monotonic_s()
        if now_s >= self._due_s:
            self._due_s = now_s + self._interval_s
            self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
            try:
                line.sendto(message.encode(), self._address)
            except OSError:
                return  # a manager that went away is no reason to stop working


def _address(name: str) -> str:
    """An abstract socket is written with @ and addressed with a null byte."""
    return "\0" + name[1:] if name.startswith("@") else name


def _watchdog_s(environment: Mapping[str, str]) -> float:
    meant_for = environment.get("WATCHDOG_PID", "")
    if meant_for and meant_for != str(os.getpid()):
        return 0.0
    microseconds = environment.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdigit() else 0.0
