"""The device of the demonstration, a process of its own: replay, classify, deliver, write down."""

import argparse
import sys
from pathlib import Path

from edgeml.clock import Clock, SystemClock
from edgeml.demo.devicelog import LogWriter
from edgeml.demo.outcome import TimelinePoint
from edgeml.device import Device
from edgeml.sensors.replay import Replay
from edgeml.sync.settings import Mqtt

STATE_EVERY_S = 0.05
DRAIN_TIMEOUT_S = 180.0


class _StateLog:
    """Notes the device's state at most every `STATE_EVERY_S`."""

    def __init__(self, log: LogWriter, device: Device, clock: Clock) -> None:
        self._log = log
        self._device = device
        self._clock = clock
        self._began_s = clock.monotonic_s()
        self._next_s = 0.0

    def note(self, *, always: bool = False) -> None:
        time_s = self._clock.monotonic_s() - self._began_s
        if not always and time_s < self._next_s:
            return
        self._next_s = time_s + STATE_EVERY_S
        health = self._device.health()
        if health.delivery is not None:
            self._log.state(
                self._clock.now_s(),
                TimelinePoint(
                    time_s,
                    health.results,
                    health.delivery.pending_rows + health.delivery.waiting_rows,
                    health.delivery.connected,
                ),
                health.delivery.outages,
            )


def main() -> int:
    """Run the device until its recordings are over and everything is delivered."""
    args = _arguments()
    clock = SystemClock()
    source = Replay(
        args.recordings, start_s=args.start_s, speed=args.speed, repeat=args.repeat, clock=clock
    )
    sync = Mqtt(
        args.broker, fleet=args.fleet, outbox=args.outbox, reconnect_min_s=0.2, reconnect_max_s=0.5
    )
    with (
        args.log.open("w", encoding="utf-8") as file,
        Device(args.device, model=args.bundle, sync=sync, clock=clock) as device,
    ):
        device.model.warm_up()
        log = LogWriter(file)
        log.start(device.model.info.backend)
        states = _StateLog(log, device, clock)
        for result in device.run(source):
            log.result(result)
            states.note()
        give_up_s = clock.monotonic_s() + DRAIN_TIMEOUT_S
        delivered = False
        while not delivered and clock.monotonic_s() < give_up_s:
            delivered = device.wait_delivered(STATE_EVERY_S)
            states.note()
        states.note(always=True)
    return 0 if delivered else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--recordings", type=Path, required=True)
    parser.add_argument("--broker", required=True)
    parser.add_argument("--fleet", required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--outbox", type=Path, required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--start-s", type=float, required=True)
    parser.add_argument("--speed", type=float, required=True)
    parser.add_argument("--repeat", type=int, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
