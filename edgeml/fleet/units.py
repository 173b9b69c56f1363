"""Times as people type them."""

import re
from typing import Final

from edgeml.errors import ConfigError

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def seconds(text: str) -> int:
    """`90s`, `30m`, `24h` or `7d` in seconds.

    Raises:
        ConfigError: it is none of these.
    """
    found = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if found is None:
        raise ConfigError(f"{text!r} is no time; expected a number and s, m, h or d, as in 24h")
    return int(found[1]) * _UNITS[found[2]]


def hours(text: str) -> tuple[int, int]:
    """`02-05` as two hours of the day.

    Raises:
        ConfigError: it is something else.
    """
    found = re.fullmatch(r"(\d{1,2})-(\d{1,2})", text)
    if found is None:
        raise ConfigError(f"--hours is {text!r}; expected two hours of the day, as in 02-05")
    return int(found[1]), int(found[2])
