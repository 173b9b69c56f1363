"""Several devices in one process, each a whole `Device`: they infer, report and take updates.

Each has a model, an outbox, a connection and a thread of its own. What happens
to its model is written down at once, as JSON lines; how many windows it
answered, and the longest pause between two answers, when it ends.
"""

import argparse
import json
import signal
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, TextIO

from edgeml.clock import SystemClock
from edgeml.device import Device
from edgeml.ota.host import Change
from edgeml.ota.probation import Limits
from edgeml.ota.settings import Updates
from edgeml.sensors.replay import Replay
from edgeml.sensors.sample import Window
from edgeml.sync.settings import Mqtt

# Devices that share two processors with a whole fleet are slow for reasons of their own.
_TRIAL: Final = Limits(windows=80, least=40, slower=1000.0, starts=10)


class Log:
    """One file for the whole process."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._clock = SystemClock()

    def write(self, device: str, **said: Any) -> None:
        """A record of one device, now."""
        with self._lock:
            record = {"time_s": self._clock.now_s(), "device": device, **said}
            self._file.write(json.dumps(record) + "\n")
            self._file.flush()


def serve(name: str, args: argparse.Namespace, log: Log, stop: threading.Event) -> None:
    """One device, until it is told to stop."""
    clock = SystemClock()
    sync = Mqtt(
        args.broker, args.fleet, outbox=args.folder / f"{name}.db", ack="broker",
        reconnect_min_s=0.2, reconnect_max_s=0.5,
    )  # fmt: skip
    updates = Updates(
        args.root, state=args.folder / name, check_interval_s=2.0, slower=1000.0, probation=_TRIAL
    )
    windows, pause_s, before_s, version = 0, 0.0, clock.monotonic_s(), 0
    with Device(name, model=args.bundle, sync=sync, updates=updates, clock=clock) as device:
        device.on_update(partial(note, log, name))
        for result in device.run(paced(args.recordings, args.rate, stop)):
            now_s = clock.monotonic_s()
            pause_s, before_s, windows = max(pause_s, now_s - before_s), now_s, windows + 1
            if result.model.version != version:
                version = result.model.version
                log.write(name, kind="version", version=version)
    log.write(name, kind="end", version=version, windows=windows, longest_pause_s=pause_s)


def note(log: Log, name: str, change: Change) -> None:
    """Write a step of an update down."""
    log.write(name, kind="update", event=change.event, release=change.release, why=change.reason)


def paced(recordings: Path, rate_hz: float, stop: threading.Event) -> Iterator[Window]:
    """The recordings again and again, so many a second."""
    clock = SystemClock()
    data = Replay(recordings).recordings
    n = 0
    while not stop.wait(1 / rate_hz):
        now_s = clock.now_s()
        yield Window(now_s, now_s + 1 / rate_hz, data[n % len(data)])
        n += 1


def main() -> int:
    """Run the devices until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--recordings", type=Path, required=True)
    parser.add_argument("--broker", required=True)
    parser.add_argument("--fleet", required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("devices", nargs="+")
    args = parser.parse_args()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with args.log.open("w", encoding="utf-8") as file:
        log = Log(file)
        threads = [
            threading.Thread(target=serve, args=(name, args, log, stop), name=name)
            for name in args.devices
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return 0


if __name__ == "__main__":
    sys.exit(main())
