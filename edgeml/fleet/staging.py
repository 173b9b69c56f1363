"""Whether a rollout goes on, waits or stops: one pure decision from what devices say.

Devices are a sample of the fleet that the next stage would reach, so the failure
rate is known only up to a confidence: the exact binomial bounds of Clopper and
Pearson (Biometrika 26, 1934, pp. 404-413). A stage in which every device has
answered is no sample; its own rate is what counts then.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from edgeml.errors import ConfigError

STAGES: Final = (100, 1_000, 5_000, 10_000)
"""1, 10, 50 and 100 % of the buckets."""


class Outcome(Enum):
    """What became of a release on one device."""

    PENDING = "pending"
    GOOD = "good"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Policy:
    """When to go on.

    Attributes:
        stages: the buckets of each stage, ascending, the last one 10,000.
        max_failure_rate: of devices, that is borne.
        confidence: with which the rate must be known to lie under it, or over it.
        soak_s: a stage lasts at least so long, so that late alarms are heard.

    Raises:
        ConfigError: a value that cannot work.
    """

    stages: tuple[int, ...] = STAGES
    max_failure_rate: float = 0.05
    confidence: float = 0.95
    soak_s: float = 600.0

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip(self.stages, self.stages[1:], strict=False))
        if not self.stages or not rising or self.stages[0] <= 0 or self.stages[-1] != STAGES[-1]:
            raise ConfigError(f"stages {self.stages} should rise from above 0 to 100 %")
        if not 0 < self.max_failure_rate < 1 or not 0.5 <= self.confidence < 1:
            raise ConfigError("the failure rate should be above 0, the confidence 0.5 or more")
        if not 0 <= self.soak_s <= 30 * 86_400:
            raise ConfigError(f"a soak of {self.soak_s:g} s; it should be up to 30 days")

    @property
    def enough(self) -> int:
        """How many devices without a failure prove the rate."""
        return math.ceil(math.log(1 - self.confidence) / math.log(1 - self.max_failure_rate))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do now: nothing, let `upto` buckets have it, or halt. `reason` is for people."""

    reason: str
    upto: int | None = None
    halt: bool = False
    done: bool = False


def judge(
    policy: Policy,
    upto: int,
    in_stage_s: float,
    outcomes: Mapping[str, Outcome],
    nearest: int | None = None,
) -> Verdict:
    """What follows from the devices that have been let in.

    Args:
        policy: when to go on.
        upto: the buckets that are let in now; 0 before the first stage.
        in_stage_s: for how long.
        outcomes: of every device that is let in and can be heard.
        nearest: the least bucket of a device that can be heard and is not let in; None for none.
    """
    if upto == 0:
        return Verdict("begins", upto=policy.stages[0])
    failed = sum(outcome is Outcome.FAILED for outcome in outcomes.values())
    seen = failed + sum(outcome is Outcome.GOOD for outcome in outcomes.values())
    said = f"{failed} of {seen} failed, {len(outcomes) - seen} have not answered"
    everybody = seen == len(outcomes)
    if failed:
        rate = failed / seen
        # One failure among few may be the device's own; two in a row of few are not borne.
        proven = lower_bound(failed, seen, policy.confidence) > policy.max_failure_rate
        if proven or (rate > policy.max_failure_rate and (everybody or failed >= 2)):
            return Verdict(f"halted: {said}", halt=True)
    if in_stage_s < policy.soak_s:
        return Verdict(f"soaks: {said}")
    following = next((stage for stage in policy.stages if stage > upto), None)
    if not outcomes:
        # A stage that holds nobody proves nothing: one device leads before many follow.
        if nearest is None or following is None:
            return Verdict("waits: no device of the group can be heard")
        return Verdict("goes on: this stage holds nobody", upto=min(following, nearest + 1))
    proven = seen > 0 and upper_bound(failed, seen, policy.confidence) <= policy.max_failure_rate
    if not proven and not everybody:
        return Verdict(f"waits: {said}")
    if following is not None:
        return Verdict(f"goes on: {said}", upto=following)
    return Verdict(f"done: {said}", done=everybody) if everybody else Verdict(f"waits: {said}")


def upper_bound(failed: int, seen: int, confidence: float) -> float:
    """The greatest failure rate under which so few failures are not yet improbable."""
    if failed >= seen:
        return 1.0
    return _root(lambda rate: at_most(failed, seen, rate) - (1 - confidence))


def lower_bound(failed: int, seen: int, confidence: float) -> float:
    """The least failure rate under which so many failures are not yet improbable."""
    if failed == 0:
        return 0.0
    return _root(lambda rate: (1 - confidence) - (1 - at_most(failed - 1, seen, rate)))


def at_most(failed: int, seen: int, rate: float) -> float:
    """The probability of at most so many failures among so many devices."""
    if rate <= 0:
        return 1.0
    if rate >= 1:
        return 1.0 if failed >= seen else 0.0
    log_rate, log_rest = math.log(rate), math.log1p(-rate)
    return math.fsum(
        math.exp(
            math.lgamma(seen + 1) - math.lgamma(k + 1) - math.lgamma(seen - k + 1)
            + k * log_rate + (seen - k) * log_rest
        )
        for k in range(failed + 1)
    )  # fmt: skip


def _root(falling: Callable[[float], float]) -> float:
    """Where a function that falls from 0 to 1 crosses zero, to ten digits."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return (low + high) / 2
