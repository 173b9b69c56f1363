"""Several sources at once, each under its name: what arrives, in the order in which it does.

Recordings by themselves are merged by time, so that a run gives the same
results every time. With a live source among them, or one that is replayed at a
speed, each is read by a thread of its own; all wake the one loop that takes from them.
"""

import heapq
import threading
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from time import monotonic
from typing import NamedTuple

from edgeml.sensors.live import Live
from edgeml.sensors.sample import Sample, Window

Item = Sample | Window
Arrival = tuple[str, Sequence[Item]]
"""A source's name, and what arrived from it together."""


class Queues(NamedTuple):
    """A queue for each source by name, and the condition that all of them notify."""

    changed: threading.Condition
    lives: Mapping[str, Live[Sample]]


def is_live(source: object) -> bool:
    """Whether the source goes on by itself, and needs a queue."""
    return bool(getattr(source, "live", False))


def needs_thread(source: object) -> bool:
    """Whether the loop would be held up if it waited for the source itself."""
    return is_live(source) or bool(getattr(source, "paced", False))


def merged(sources: Mapping[str, Iterable[Item]]) -> Iterator[Arrival]:
    """What recordings give, earliest first; of equal times the first named first."""

    def timed(rank: int, name: str, source: Iterable[Item]) -> Iterator[tuple[float, int, Arrival]]:
        for item in source:
            time_s = item.time_s if isinstance(item, Sample) else item.end_s
            yield time_s, rank, (name, (item,))

    streams = [timed(rank, name, source) for rank, (name, source) in enumerate(sources.items())]
    for _, _, arrival in heapq.merge(*streams, key=lambda entry: entry[:2]):
        yield arrival


def together(
    sources: Mapping[str, Iterable[Sample]],
    capacities: Mapping[str, int],
    policy: str,
) -> Queues:
    """A queue for each source, all of which wake one loop; recordings wait for room.

    Args:
        sources: by name.
        capacities: what each queue holds.
        policy: what a live source does when its queue is full.
    """
    changed = threading.Condition()
    lives = {
        name: Live(
            source,
            capacity=capacities[name],
            policy=policy if is_live(source) else "block",
            changed=changed,
        )
        for name, source in sources.items()
    }
    return Queues(changed, lives)


def arrivals(queues: Queues, idle_s: float | None) -> Generator[Arrival, None, None]:
    """What arrives in any of the queues, until all their sources have ended.

    Args:
        queues: from `together`.
        idle_s: when nothing came for so long, an arrival of nothing is given; a source that
            gave nothing for so long is looked after, whatever the others give.

    Raises:
        SensorError: and whatever else a source raised, after all that it gave before.
    """
    waiting = dict(queues.lives)
    heard_s = dict.fromkeys(waiting, monotonic())
    try:
        for live in queues.lives.values():
            live.start()
        while waiting:
            with queues.changed:
                queues.changed.wait_for(
                    lambda: any(live.ready for live in waiting.values()), idle_s
                )
            came = False
            for name, live in tuple(waiting.items()):
                block = live.take(0.0)
                if block is None:
                    del waiting[name]
                    came = True
                    live.raise_error()
                elif block:
                    came = True
                    yield name, block
                    heard_s[name] = monotonic()
                elif idle_s is not None and monotonic() - heard_s[name] >= idle_s:
                    live.check()
                    heard_s[name] = monotonic()
            if not came:
                yield "", ()
    finally:
        for live in queues.lives.values():
            live.close()
