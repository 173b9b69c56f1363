"""Child processes: started with a log each, awaited with a deadline, never leaked."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgeml.errors import EdgeMLError

STOP_TIMEOUT_S: Final = 20.0
_POLL_S: Final = 0.02
_LAST_WORDS: Final = 12


class DemoError(EdgeMLError, RuntimeError):
    """The demonstration cannot run, or one of its processes failed."""

    exit_code = 24


@dataclass(frozen=True, slots=True)
class Child:
    """A running process and the file that its words go to."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def ended(self) -> bool:
        """The process is gone."""
        return self.process.poll() is not None

    def stop(self) -> None:
        """Ask it to end, and end it where it does not."""
        if self.ended():
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def last_words(self) -> str:
        """The end of what it printed."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-_LAST_WORDS:]) or "it printed nothing"


@contextlib.contextmanager
def child(folder: Path, name: str, arguments: Sequence[str]) -> Iterator[Child]:
    """A Python process, stopped when the block ends.

    Args:
        folder: where its log `NAME.log` goes.
        name: for messages.
        arguments: behind `python`.
    """
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    running = Child(name, process, log)
    try:
        yield running
    finally:
        running.stop()


def wait_until(
    done: Callable[[], bool], alive: Sequence[Child], timeout_s: float, what: str
) -> None:
    """Wait for something that the children do.

    Args:
        done: asked again and again.
        alive: children that must not end before.
        timeout_s: the deadline.
        what: is awaited, for the message.

    Raises:
        DemoError: a child ended, or the deadline passed; with the child's last words.
    """
    give_up_s = time.monotonic() + timeout_s
    while not done():
        for one in alive:
            if one.ended() and not done():
                raise DemoError(
                    f"the {one.name} ended with status {one.process.returncode} before {what}:\n"
                    f"{one.last_words()}"
                )
        if time.monotonic() > give_up_s:
            words = "\n".join(f"{one.name}: {one.last_words()}" for one in alive)
            raise DemoError(f"waited {timeout_s:.0f} s in vain for {what}\n{words}")
        time.sleep(_POLL_S)
