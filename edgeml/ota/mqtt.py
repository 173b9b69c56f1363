"""Published files from a broker: exact topics, a few at a time, let go when they came.

A file is a retained message on a topic of its own, so to subscribe is to ask;
several are asked for, and let go, in one packet.
What does not come is wished for once, for a seeder to send again, and then
given up. Whose connection it is (`Shelf`) the device says; it is never the one
that results go home over.
"""

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from typing import Final, Protocol

from edgeml.clock import Clock

WINDOW: Final = 8
"""Files that are awaited at once: what a broker of AWS takes in one subscription."""
_AT_LEAST: Final = WINDOW // 2
"""Files that are asked for together, so that each does not cost packets of its own."""


class Shelf(Protocol):
    """Retained messages of a fleet, by the names of `edgeml.releases.names`."""

    def open(self) -> None:
        """Begin to connect, if it has not; the line comes back by itself."""
        ...

    @property
    def online(self) -> bool:
        """Whether something can be asked for now."""
        ...

    def ask(self, names: Sequence[str]) -> None:
        """Let files come, now and after each reconnection."""
        ...

    def leave(self, names: Sequence[str]) -> None:
        """Let them come no more."""
        ...

    def wish(self, name: str) -> None:
        """Ask whoever seeds to send a file again."""
        ...

    def step(self, timeout_s: float) -> list[tuple[str, bytes]]:
        """Let the line live for at most so long; what came."""
        ...

    def close(self) -> None:
        """End the connection; `open` makes another."""
        ...


class Broker:
    """A broker that a publisher's files are retained on.

    Args:
        shelf: the way to it.
        clock: the time.
        max_bytes_per_s: a bound on the rate; None for none.
        connect_s: gives up reaching it after this long.
        silence_s: wishes for a file that did not come, and after as long again gives it up.
    """

    name: Final = "mqtt"

    def __init__(
        self,
        shelf: Shelf,
        clock: Clock,
        *,
        max_bytes_per_s: float | None = None,
        connect_s: float = 15.0,
        silence_s: float = 10.0,
    ) -> None:
        self._shelf = shelf
        self._clock = clock
        self._rate = max_bytes_per_s
        self._connect_s = connect_s
        self._silence_s = silence_s

    @property
    def where(self) -> str:
        """The broker, whose address is that of the results."""
        return "the broker"

    def fetch(self, names: Sequence[str], limit_bytes: int) -> Iterator[tuple[str, bytes]]:
        """Those of some files that the broker has, in the order in which they come."""
        if not names or not self._connected():
            return
        waiting, asked = deque(names), dict[str, float]()
        came: list[str] = []
        wished: set[str] = set()
        silent, may_ask_s = 0, 0.0
        try:
            # A broker that says nothing to a whole window of wishes has not got the rest either.
            while (waiting or asked) and silent < WINDOW:
                now_s = self._clock.monotonic_s()
                number = _next(asked, waiting)
                if number and now_s >= may_ask_s:
                    more = [waiting.popleft() for _ in range(number)]
                    asked.update(dict.fromkeys(more, now_s + self._silence_s))
                    self._shelf.ask(more)
                for name, data in self._shelf.step(self._patience_s(asked, waiting, may_ask_s)):
                    if asked.pop(name, None) is None:
                        continue
                    came.append(name)
                    silent = 0
                    if self._rate is not None:
                        now_s = self._clock.monotonic_s()
                        may_ask_s = max(may_ask_s, now_s) + len(data) / self._rate
                    if data and len(data) <= limit_bytes:
                        yield name, data
                if len(came) >= WINDOW:
                    self._shelf.leave(came)
                    came.clear()
                silent += self._give_up(asked, wished)
        finally:
            self._shelf.leave([*came, *asked])

    def close(self) -> None:
        """Let the connection go until the next fetch."""
        self._shelf.close()

    def _connected(self) -> bool:
        self._shelf.open()
        give_up_s = self._clock.monotonic_s() + self._connect_s
        while not self._shelf.online:
            left_s = give_up_s - self._clock.monotonic_s()
            if left_s <= 0:
                return False
            self._shelf.step(left_s)
        return True

    def _patience_s(self, asked: dict[str, float], waiting: deque[str], may_ask_s: float) -> float:
        """Until something has to be done even if nothing comes."""
        due_s = min(asked.values(), default=may_ask_s)
        if _next(asked, waiting):
            due_s = min(due_s, may_ask_s)
        return max(due_s - self._clock.monotonic_s(), 0.0)

    def _give_up(self, asked: dict[str, float], wished: set[str]) -> int:
        """Wish for what is late; give up what was wished for already. How much was given up."""
        now_s, lost = self._clock.monotonic_s(), 0
        for name in [name for name, due_s in asked.items() if now_s >= due_s]:
            if name in wished or not name.startswith("c/"):
                del asked[name]
                self._shelf.leave([name])
                lost += 1
            else:
                wished.add(name)
                asked[name] = now_s + self._silence_s
                self._shelf.wish(name)
        return lost


def _next(asked: Collection[str], waiting: Collection[str]) -> int:
    """How many files to ask for now, together; 0 where it is better to wait for some to come."""
    number = min(WINDOW - len(asked), len(waiting))
    return number if number >= min(_AT_LEAST, len(waiting)) else 0
