"""A metered link is not overdrawn, and the night is quiet, on clocks that the test holds."""

import pytest

from edgeml.errors import ConfigError
from edgeml.sync.budget import DAY_S, Allowance, Budget, parse_hours
from edgeml.sync.settings import Mqtt


def test_without_limits_nothing_waits() -> None:
    budget = Budget(Allowance(), 0.0)
    budget.spend(10**9)
    assert budget.wait_s(0.0, 0.0, urgent=False) == 0


def test_bytes_a_second_are_kept_on_average() -> None:
    budget = Budget(Allowance(bytes_per_s=1000.0), 0.0)
    now_s, sent = 0.0, 0
    while now_s < 100:
        wait_s = budget.wait_s(now_s, 0.0, urgent=True)
        if wait_s == 0:
            budget.spend(700)
            sent += 700
        now_s += max(wait_s, 0.01)
    assert 95_000 <= sent <= 102_000


def test_idle_hours_are_not_saved_up() -> None:
    budget = Budget(Allowance(bytes_per_s=1000.0), 0.0)
    assert budget.wait_s(3600.0, 0.0, urgent=True) == 0
    budget.spend(3000)
    assert budget.wait_s(3600.0, 0.0, urgent=True) == 2.0


def test_a_days_bytes_are_spent_once_a_day() -> None:
    budget = Budget(Allowance(bytes_per_day=1000), 50.0)
    budget.spend(1000)
    assert budget.wait_s(60.0, 0.0, urgent=True) == 50.0 + DAY_S - 60.0
    assert budget.wait_s(50.0 + DAY_S, 0.0, urgent=True) == 0


@pytest.mark.parametrize(
    ("hours", "quiet", "loud"),
    [
        ("22:00-06:00", (22.0, 23.9, 0.0, 5.99), (6.0, 12.0, 21.99)),
        ("08:00-09:30", (8.0, 9.4), (7.9, 9.5)),
    ],
)
def test_quiet_hours_hold_results_and_let_events_go(
    hours: str, quiet: tuple[float, ...], loud: tuple[float, ...]
) -> None:
    begin, end = parse_hours(hours)
    budget = Budget(Allowance(quiet_from_s=begin, quiet_to_s=end), 0.0)
    for hour in quiet:
        assert budget.wait_s(0.0, 5 * DAY_S + hour * 3600, urgent=False) > 0
        assert budget.wait_s(0.0, 5 * DAY_S + hour * 3600, urgent=True) == 0
    for hour in loud:
        assert budget.wait_s(0.0, 5 * DAY_S + hour * 3600, urgent=False) == 0


@pytest.mark.parametrize(
    "hours", ["", "22-6", "22:00", "24:00-06:00", "22:00 - 06:00", "22:61-06:00"]
)
def test_hours_that_are_none_are_refused(hours: str) -> None:
    with pytest.raises(ConfigError, match="quiet_hours"):
        Mqtt("mqtt://h", quiet_hours=hours)


def test_a_limit_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="max_bytes_per_s"):
        Mqtt("mqtt://h", max_bytes_per_s=0)
    with pytest.raises(ConfigError, match="max_bytes_per_day"):
        Mqtt("mqtt://h", max_bytes_per_day=0)
