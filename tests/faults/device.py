"""A device for the fault runs: numbered results and events, a journal of what is durable.

    python device.py DEVICE URL HOME OUTBOX SEED CAP_BYTES [KEEPALIVE_S]

Every row's number is unique over all starts; one in `EVENT_EVERY` is an event.
A number is journalled once `flush` said that it is on disk: those must arrive,
or be in a gap. Where the outbox begins to number is noted, so that each can be looked up.
A line `clock SECONDS` on stdin sets the wall clock. A file named `stop` ends the
production; the process then waits until all is delivered.
"""

import os
import random
import sys
import time
from pathlib import Path

from edgeml.clock import SystemClock
from edgeml.result import ModelRef, Result
from edgeml.sync.delivery import Delivery
from edgeml.sync.settings import Mqtt

MODEL = ModelRef("counting", 1, "c0" * 32)
STARTS_APART = 1_000_000
EVENT_EVERY = 29
DRAIN_S = 120.0


class JumpingClock(SystemClock):
    """A wall clock that somebody keeps setting."""

    __slots__ = ("offset_s",)

    def __init__(self) -> None:
        self.offset_s = 0.0

    def now_s(self) -> float:
        return super().now_s() + self.offset_s


def is_event(number: int) -> bool:
    return number % EVENT_EVERY == 0


def score_of(number: int) -> float:
    """The content that belongs to a number, so that a mix-up shows."""
    return (number * 2_654_435_761 % 1000) / 1000


def result_of(number: int, now_s: float) -> Result:
    label = f"l{number}"
    outputs = (float(number), score_of(number))
    return Result(MODEL, now_s, now_s + 1.0, label, score_of(number), outputs, 1.0, 1.0, 1.0)


def orders(clock: JumpingClock) -> None:
    """Do what was written on stdin meanwhile."""
    try:
        text = os.read(0, 4096).decode()
    except BlockingIOError:
        return
    for line in text.splitlines():
        clock.offset_s += float(line.removeprefix("clock "))


def main() -> int:
    device, url, directory, outbox_path, seed, cap_bytes = sys.argv[1:7]
    home = Path(directory)
    starts = home / f"{device}.starts"
    start = len(starts.read_bytes()) if starts.exists() else 0
    with starts.open("ab") as file:
        file.write(b"x")
    os.set_blocking(0, False)
    rng = random.Random(f"{seed}/{device}/{start}")
    clock = JumpingClock()
    settings = Mqtt(
        url,
        fleet="faults",
        keepalive_s=int(sys.argv[7]) if len(sys.argv) > 7 else 60,
        outbox=outbox_path,
        reconnect_min_s=0.05,
        reconnect_max_s=0.3,
        commit_interval_ms=10,
        resend_after_s=0.5,
        batch_rows=50,
        results_cap_bytes=int(cap_bytes),
    )
    with (
        Delivery(device, settings, clock) as delivery,
        (home / f"{device}.journal").open("a") as journal,
    ):
        number = start * STARTS_APART
        outbox = delivery._outbox
        assert outbox is not None
        with (home / f"{device}.numbering").open("a") as numbering:
            # Whatever becomes durable of this start is numbered from here on, in order.
            numbering.write(f"{start} {outbox.id} {outbox.next_seq}\n")
        while not (home / "stop").exists():
            orders(clock)
            count = rng.randint(1, 60)
            for n in range(number, number + count):
                if is_event(n):
                    delivery.event("counted", {"n": n})
                else:
                    delivery.put(result_of(n, clock.now_s()), window_index=n, extra={"n": n})
            number += count
            if delivery.flush(rng.uniform(0.3, 1.0)):
                journal.write(f"{number}\n")
                journal.flush()
            time.sleep(rng.uniform(0.0, 0.02))
        if not delivery.wait_delivered(DRAIN_S):
            print(delivery.health(), file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
