"""How long an answer takes on this line, learnt from the answers: the clock of a resend.

The estimate of RFC 6298, the one that TCP times its resends by: a smoothed
time, and four times its smoothed deviation on top. A receiving end that is busy
answers late, and who then sends again after a fixed time makes it busier still.
"""

from dataclasses import dataclass
from typing import Final

_GAIN: Final = 1 / 8
_DEVIATION_GAIN: Final = 1 / 4
_DEVIATIONS: Final = 4
_GRAIN_S: Final = 0.01


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the answers so far say about the next; None before the first."""

    smoothed_s: float | None = None
    deviation_s: float = 0.0

    @property
    def due_s(self) -> float:
        """An answer that takes longer than this is unusual; 0 while nothing is known."""
        if self.smoothed_s is None:
            return 0.0
        return self.smoothed_s + max(_GRAIN_S, _DEVIATIONS * self.deviation_s)

    def after(self, took_s: float) -> "Estimate":
        """The estimate after one more answer, to a message that was sent once only.

        Which of several sendings an answer belongs to, nobody knows (Karn's rule).
        """
        if self.smoothed_s is None:
            return Estimate(took_s, took_s / 2)
        off_s = abs(self.smoothed_s - took_s)
        return Estimate(
            self.smoothed_s + _GAIN * (took_s - self.smoothed_s),
            self.deviation_s + _DEVIATION_GAIN * (off_s - self.deviation_s),
        )
