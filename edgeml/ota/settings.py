"""What somebody sets about updates, checked when it is set."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from edgeml.errors import ConfigError, nearest
from edgeml.ota.probation import Limits
from edgeml.releases.names import DEFAULT_GROUP, checked_name

POLICIES: Final = ("auto", "ask", "hours")
_CARRY: Final = "carry the publisher's metadata/1.root.json to this device"


@dataclass(frozen=True, slots=True)
class Updates:
    """How a device gets new models.

    Attributes:
        root: the publisher's first root, as it was carried to this device by hand.
        http: the address that the publisher's folder is served under; None for no web server.
        folder: where the publisher's folder may be found, such as a USB stick's; None for none.
        policy: `auto` installs what is offered, `hours` only within `hours`, `ask` when
            it was agreed to.
        hours: the hours of this device's day, such as (2, 5), for the policy `hours`.
        group: the group of devices that this one is in.
        check_interval_s: between two looks at what is offered.
        slower: how many times the incumbent's p95 a candidate's may take in the probe; a
            millisecond more it always may.
        larger: how many times the incumbent's peak of memory it may take there.
        shadow_windows: windows that a candidate sees beside the incumbent before it takes over;
            0 for none.
        shadow_agreement: the least share of them on which both give the same label, 0 to 1; 0
            only reports it.
        probation: what a new model must keep after it was installed.
        max_bytes_per_s: a bound on downloads; None for none.
        state: the folder for models and metadata; by default `updates-DEVICE` in the
            state directory, beside the outbox.

    Raises:
        ConfigError: a value that cannot work, named.
    """

    root: str | os.PathLike[str]
    http: str | None = None
    folder: str | os.PathLike[str] | None = None
    policy: str = "auto"
    hours: tuple[int, int] | None = None
    group: str = DEFAULT_GROUP
    check_interval_s: float = 3600.0
    slower: float = 2.0
    larger: float = 2.0
    shadow_windows: int = 0
    shadow_agreement: float = 0.0
    probation: Limits = field(default_factory=Limits)
    max_bytes_per_s: float | None = None
    state: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise ConfigError(
                f"updates: policy {self.policy!r} is none of {', '.join(POLICIES)}"
                f"{nearest(self.policy, POLICIES)}"
            )
        if (self.policy == "hours") != (self.hours is not None):
            raise ConfigError('updates: policy="hours" and hours=(2, 5) go together')
        if self.hours is not None and not _are_hours(*self.hours):
            raise ConfigError(f"updates: hours={self.hours}; they should be two of 0 to 24")
        rate = 1 if self.max_bytes_per_s is None else self.max_bytes_per_s
        if not min(self.check_interval_s, self.slower, self.larger, rate) > 0:
            raise ConfigError(
                "updates: check_interval_s, slower, larger and max_bytes_per_s should be above 0"
            )
        trial = self.probation
        if not min(trial.windows, trial.starts, trial.least, trial.slower) > 0:
            raise ConfigError(
                "updates: windows, starts, least and slower of probation should be above 0"
            )
        if self.shadow_windows < 0 or not 0 <= self.shadow_agreement <= 1:
            raise ConfigError(
                "updates: shadow_windows should be 0 or more, shadow_agreement between 0 and 1"
            )
        if self.shadow_agreement and not self.shadow_windows:
            raise ConfigError("updates: shadow_agreement needs shadow_windows")
        checked_name(self.group, "updates: group")

    def read_root(self) -> bytes:
        """The root file.

        Raises:
            ConfigError: it cannot be read, or is another file.
        """
        path = Path(self.root)
        try:
            data = path.read_bytes()
        except OSError as exc:
            raise ConfigError(
                f"updates: the root {path} cannot be read ({exc.strerror or exc}); {_CARRY}"
            ) from exc
        if not _looks_like_root(data):
            raise ConfigError(f"updates: {path} is not a publisher's root file; {_CARRY}")
        return data


def _are_hours(start: int, end: int) -> bool:
    return 0 <= start < 24 and 0 <= end <= 24 and start != end


def _looks_like_root(data: bytes) -> bool:
    """Whether somebody mistook another file for it; what it is worth, only trust can say."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return False
    signed = document.get("signed") if isinstance(document, dict) else None
    return isinstance(signed, dict) and signed.get("_type") == "root"
