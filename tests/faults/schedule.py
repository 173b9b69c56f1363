"""What happens in a fault run, and when, as values that follow from the seed alone.

Every run has every kind of fault at least once, in an order of its own. The
seed of a run that failed therefore makes the same faults in the same order
again; how the processes meet them is the operating system's affair.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

DEVICES: Final = ("d0", "d1", "d2")
DAY_S: Final = 86_400.0
_MORE: Final = 5
_CAPS: Final = (64 * 1024, 1 << 28, 1 << 28)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that happens.

    Attributes:
        after_s: how long after the one before.
        kind: one of `KINDS`.
        target: to whom: a device, or whose disk; empty where there is only one.
        for_s: how long it lasts, for what is stopped or filled.
        amount: seconds that the clock is set by, or bytes that are left on the disk.
    """

    after_s: float
    kind: str
    target: str = ""
    for_s: float = 0.0
    amount: float = 0.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """A run: how many bytes of results a device may keep, and what happens."""

    cap_bytes: int
    faults: tuple[Fault, ...]


def schedule(seed: int) -> Schedule:
    """The run of a seed."""
    rng = random.Random(seed)
    kinds = [*KINDS, *rng.choices(tuple(KINDS), k=_MORE)]
    rng.shuffle(kinds)
    cap_bytes = rng.choice(_CAPS)
    faults = tuple(KINDS[kind](rng, rng.uniform(0.02, 0.3)) for kind in kinds)
    return Schedule(cap_bytes, faults)


def _device(rng: random.Random, after_s: float) -> Fault:
    return Fault(after_s, "kill device", rng.choice(DEVICES), rng.uniform(0.0, 0.4))


def _broker(rng: random.Random, after_s: float) -> Fault:
    return Fault(after_s, "kill broker", "", rng.uniform(0.0, 0.4))


def _ingest(rng: random.Random, after_s: float) -> Fault:
    return Fault(after_s, "kill ingest", "", rng.uniform(0.0, 0.4))


def _tear(rng: random.Random, after_s: float) -> Fault:
    return Fault(after_s, "tear lines", rng.choice(("devices", "ingest")))


def _disk(rng: random.Random, after_s: float) -> Fault:
    whose = rng.choice(("devices", "devices", "store"))
    return Fault(after_s, "fill disk", whose, rng.uniform(0.1, 0.8), rng.randint(0, 20) * 4096)


def _clock(rng: random.Random, after_s: float) -> Fault:
    by_s = rng.choice((-DAY_S, DAY_S))
    return Fault(after_s, "set clock", rng.choice(DEVICES), amount=by_s)


KINDS: Final[Mapping[str, Callable[[random.Random, float], Fault]]] = {
    "kill device": _device,
    "kill broker": _broker,
    "kill ingest": _ingest,
    "tear lines": _tear,
    "fill disk": _disk,
    "set clock": _clock,
}
