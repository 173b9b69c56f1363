"""A device for the fault runs: numbered results, a journal of what is durable, a hostile machine.

    python device.py DEVICE URL DIRECTORY SEED CAP_BYTES

Every result's window number is unique over all starts. A number is journalled
once `flush` said that it is on disk: those, and only those, must arrive. Where
the outbox begins to number is noted, so that a lost result can be looked up
among the gap records. The
wall clock jumps by days and the disk refuses to grow, as the seed has it.
A file named `stop` ends the production; the process then waits until all is delivered.
"""

import random
import resource
import sys
import time
from pathlib import Path

from edgeml.clock import SystemClock
from edgeml.result import ModelRef, Result
from edgeml.sync.delivery import Delivery
from edgeml.sync.settings import Mqtt

MODEL = ModelRef("counting", 1, "c0" * 32)
STARTS_APART = 1_000_000
DRAIN_S = 120.0


class JumpingClock(SystemClock):
    """A wall clock that somebody keeps setting."""

    __slots__ = ("offset_s",)

    def __init__(self) -> None:
        self.offset_s = 0.0

    def now_s(self) -> float:
        return super().now_s() + self.offset_s


def score_of(number: int) -> float:
    """The content that belongs to a number, so that a mix-up shows."""
    return (number * 2_654_435_761 % 1000) / 1000


def main() -> int:
    device, url, directory, seed, cap_bytes = sys.argv[1:]
    home = Path(directory)
    starts = home / f"{device}.starts"
    start = len(starts.read_bytes()) if starts.exists() else 0
    with starts.open("ab") as file:
        file.write(b"x")
    rng = random.Random(f"{seed}/{device}/{start}")
    clock = JumpingClock()
    settings = Mqtt(
        url,
        fleet="faults",
        outbox=home / f"{device}.db",
        reconnect_min_s=0.05,
        reconnect_max_s=0.3,
        commit_interval_ms=10,
        resend_after_s=0.5,
        batch_rows=50,
        results_cap_bytes=int(cap_bytes),
    )
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
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
            count = rng.randint(1, 60)
            for n in range(number, number + count):
                delivery.put(
                    Result(
                        MODEL,
                        clock.now_s(),
                        clock.now_s(),
                        None,
                        score_of(n),
                        (float(n),),
                        1.0,
                        1.0,
                        1.0,
                    ),
                    window_index=n,
                )
            number += count
            if rng.random() < 0.1:
                clock.offset_s = rng.choice((-86_400.0, 0.0, 86_400.0))
            full = rng.random() < 0.05
            if full:
                resource.setrlimit(resource.RLIMIT_FSIZE, (rng.randint(1, 20) * 4096, hard))
            if delivery.flush(rng.uniform(0.0, 0.3) if full else 30.0):
                journal.write(f"{number}\n")
                journal.flush()
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            time.sleep(rng.uniform(0.0, 0.02))
        if not delivery.wait_delivered(DRAIN_S):
            print(delivery.health(), file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
