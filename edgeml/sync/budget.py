"""How much may be sent now: for links that are metered, shared or wanted quiet at night.

Bytes a second are a bucket that fills steadily and holds one second's worth or
one message, whichever is more. Bytes a day are counted in days since the
start, because the wall clock of a device may be anywhere. Only quiet hours ask
the wall clock, for that is what they mean. Pure: both clocks come in.
"""

import re
from dataclasses import dataclass
from typing import Final

from edgeml.errors import ConfigError

DAY_S: Final = 86_400.0
_QUIET_POLL_S: Final = 60.0
_HOURS: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a link may carry; None where there is no limit.

    Attributes:
        bytes_per_s: on average.
        bytes_per_day: in each day since the start.
        quiet_from_s: where the quiet hours begin, in seconds after midnight UTC.
        quiet_to_s: where they end; before `quiet_from_s` where they span midnight.
    """

    bytes_per_s: float | None = None
    bytes_per_day: int | None = None
    quiet_from_s: float | None = None
    quiet_to_s: float | None = None


@dataclass(slots=True)
class Budget:
    """What is left of an allowance."""

    allowance: Allowance
    now_s: float
    _credit: float = 0.0
    _day: int = 0
    _sent_today: int = 0
    _start_s: float = 0.0

    def __post_init__(self) -> None:
        self._start_s = self.now_s
        self._credit = self.allowance.bytes_per_s or 0.0

    def wait_s(self, now_s: float, wall_s: float, *, urgent: bool) -> float:
        """How long to wait before the next message may go; 0 for now.

        Args:
            now_s: the monotonic clock.
            wall_s: the wall clock; unix time.
            urgent: the message goes in quiet hours, too.
        """
        self._refill(now_s)
        waits = [0.0]
        rate = self.allowance.bytes_per_s
        if rate is not None and self._credit < 0:
            waits.append(-self._credit / rate)
        limit = self.allowance.bytes_per_day
        if limit is not None and self._sent_today >= limit:
            waits.append(self._start_s + (self._day + 1) * DAY_S - now_s)
        if not urgent and self.is_quiet(wall_s):
            waits.append(_QUIET_POLL_S)
        return max(waits)

    def spend(self, size: int) -> None:
        """A message of so many bytes was sent; a long one is paid off before the next may go."""
        self._sent_today += size
        self._credit -= size

    def is_quiet(self, wall_s: float) -> bool:
        """Whether the quiet hours are on."""
        begin, end = self.allowance.quiet_from_s, self.allowance.quiet_to_s
        if begin is None or end is None:
            return False
        second = wall_s % DAY_S
        return begin <= second < end if begin <= end else second >= begin or second < end

    def _refill(self, now_s: float) -> None:
        rate = self.allowance.bytes_per_s
        if rate is not None:
            self._credit = min(self._credit + (now_s - self.now_s) * rate, rate)
        self.now_s = now_s
        day = int((now_s - self._start_s) // DAY_S)
        if day != self._day:
            self._day, self._sent_today = day, 0


def parse_hours(text: str) -> tuple[float, float]:
    """`22:00-06:00` as seconds after midnight.

    Raises:
        ConfigError: it is not two times of day with a dash between.
    """
    match = _HOURS.fullmatch(text)
    if match is None:
        raise ConfigError(f"quiet_hours is {text!r}; it should be like '22:00-06:00', in UTC")
    begin_h, begin_m, end_h, end_m = (int(part) for part in match.groups())
    return begin_h * 3600.0 + begin_m * 60, end_h * 3600.0 + end_m * 60
