"""Which windows go home themselves, for somebody to label: the doubtful ones, and a few of all.

A model gets better by what it was unsure of. The choice is made by the result
alone, and no more windows are kept than somebody is ready to look at.
"""

from dataclasses import dataclass
from typing import Final

from edgeml.clock import Clock
from edgeml.errors import ConfigError
from edgeml.result import Result

_HOUR_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Samples:
    """When a window is kept.

    Attributes:
        below_score: where the score is lower; None for never.
        above_score: where the score is higher, as of an anomaly; None for never.
        one_in: one window in so many, whatever was said of it; None for none.
        per_hour: at most so many an hour, evenly: after one is kept, none is for 3600 / per_hour
            seconds.

    Raises:
        ConfigError: nothing would ever be kept, or a number that cannot be.
    """

    below_score: float | None = None
    above_score: float | None = None
    one_in: int | None = None
    per_hour: int = 60

    def __post_init__(self) -> None:
        if self.below_score is None and self.above_score is None and self.one_in is None:
            raise ConfigError("samples: set below_score, above_score or one_in, or none is kept")
        for name in ("one_in", "per_hour"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise ConfigError(f"samples: {name} is {value!r}; it should be 1 or more")


class Sampler:
    """Applies a plan to one result after another.

    Args:
        plan: when a window is kept.
        clock: the time.
    """

    __slots__ = ("_clock", "_free_s", "_plan", "_seen")

    def __init__(self, plan: Samples, clock: Clock) -> None:
        self._plan = plan
        self._clock = clock
        self._seen = 0
        self._free_s = clock.monotonic_s()

    def reason(self, result: Result) -> str | None:
        """Why this result's window is to be kept; None where it is not."""
        plan = self._plan
        self._seen += 1
        if plan.below_score is not None and result.score < plan.below_score:
            why = f"score below {plan.below_score:g}"
        elif plan.above_score is not None and result.score > plan.above_score:
            why = f"score above {plan.above_score:g}"
        elif plan.one_in is not None and self._seen % plan.one_in == 0:
            why = f"one in {plan.one_in}"
        else:
            return None
        now_s = self._clock.monotonic_s()
        if now_s < self._free_s:
            return None
        self._free_s = now_s + _HOUR_S / plan.per_hour
        return why
