"""The table of a fleet, once or again and again."""

import shutil
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgeml.clock import Clock, SystemClock
from edgeml.errors import StoreError
from edgeml.fleet.report import by_attention, status_document, status_summary, status_table
from edgeml.fleet.store import DeviceStatus, Store

_LINES_BESIDE_ROWS = 5

Table = Callable[[Sequence[str], Sequence[Sequence[object]]], str]
"""Makes a table in plain text."""

Tell = Callable[[Mapping[str, Any]], object]
"""Prints a JSON object."""


def print_once(store: Store, table: Table, tell: Tell | None) -> None:
    """Every device, by id.

    Raises:
        StoreError: the store cannot be read.
    """
    devices, now_s = store.status(), SystemClock().now_s()
    if tell is not None:
        tell(status_document(devices, now_s))
    else:
        print(f"{table(*status_table(devices, now_s))}\n\n{status_summary(devices)}")


def watch(
    store: Store, stop: threading.Event, interval_s: float, table: Table, tell: Tell | None
) -> None:
    """Show it until told to stop; a store that fails for a while is shown as failing."""
    clock = SystemClock()
    while True:
        try:
            devices = store.status()
        except StoreError as exc:
            print(exc, file=sys.stderr, flush=True)
        else:
            _show(devices, clock, table, tell)
        if stop.wait(interval_s):
            return


def _show(devices: Sequence[DeviceStatus], clock: Clock, table: Table, tell: Tell | None) -> None:
    now_s = clock.now_s()
    if tell is not None:
        tell(status_document(devices, now_s))
        return
    shown = by_attention(devices)
    if sys.stdout.isatty():
        shown = shown[: max(shutil.get_terminal_size().lines - _LINES_BESIDE_ROWS, 1)]
        sys.stdout.write("\x1b[H\x1b[J")
    hidden = len(devices) - len(shown)
    more = f" ({hidden} more are not shown)" if hidden else ""
    print(f"{status_summary(devices)}{more}\n\n{table(*status_table(shown, now_s))}\n")
    sys.stdout.flush()
