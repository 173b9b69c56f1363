"""Waiting for the very thing that a test asserts next, however slow the machine is."""

import time
from collections.abc import Callable
from typing import Final

DEADLINE_S: Final = 300.0
_PAUSE_S: Final = 0.02


def until(is_so: Callable[[], bool], deadline_s: float = DEADLINE_S) -> None:
    """Return as soon as something is so; fail where it is not in time."""
    give_up_s = time.monotonic() + deadline_s
    while not is_so():
        assert time.monotonic() < give_up_s, f"this was not so within {deadline_s:.0f} s"
        time.sleep(_PAUSE_S)
