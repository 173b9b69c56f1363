"""Every knob of delivery, with its unit in its name and a default that suits a Pi.

`Mqtt` is what a person writes: where the broker is, who the device is to it,
how much may wait on disk, how hard the disk is used, and how messages are cut.
"""

import os
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Final, Literal

from edgeml.errors import ConfigError
from edgeml.sync.budget import Allowance, parse_hours
from edgeml.sync.connection import Connection
from edgeml.sync.topics import checked_id

AckMode = Literal["fleet", "broker"]

MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Mqtt(Connection):
    """How a device's results get to a broker: a `Connection`'s attributes, and these.

    Attributes:
        fleet: the fleet this device belongs to.
        outbox: the outbox's file; by default `outbox-FLEET-DEVICE.db` in `state_directory()`.
        ack: who confirms a result. `"fleet"` keeps it until an edgeml ingest has committed it;
            `"broker"` lets go when the broker has answered, and then a broker that dies loses it.
        commit_interval_ms: the durability window: what was put longer ago is on disk.
        commit_rows: this many waiting results are committed at once, before the interval is over.
        batch_rows: most results in one message.
        batch_bytes: most bytes in one message; less where the broker allows less.
        compress: send messages as zlib.
        inflight_batches: most messages sent and not yet confirmed.
        resend_after_s: an unconfirmed message is sent again after this long, or after as long as
            confirmations take of late if that is longer; doubles up to five minutes.
        results_cap_bytes: most bytes of results waiting on disk; the oldest go first and leave a
            gap record.
        events_cap_bytes: most bytes of events waiting on disk.
        samples_cap_bytes: most bytes of samples waiting on disk; they go before any result.
        max_age_s: results and samples that waited longer, counted while the device ran, go and
            leave a gap record.
        memory_rows: most results waiting for the disk, for when it stalls or is full.
        health_interval_s: how often the device says how it is.
        latest: also publish each message's newest result, flat and retained, for Home Assistant
            and the like.
        max_bytes_per_s: for a metered link: so many bytes of messages a second, on average; state
            and health, about 1 kB a minute, are not counted, so that they cannot starve results.
        max_bytes_per_day: so many in each day since the start of the process.
        quiet_hours: `"22:00-06:00"`, in UTC by the device's clock: results wait, events go.

    Raises:
        ConfigError: a value that cannot work, each named.
    """

    fleet: str = "default"
    _: KW_ONLY
    outbox: Path | str | None = None
    ack: AckMode = "fleet"
    commit_interval_ms: float = 200.0
    commit_rows: int = 512
    batch_rows: int = 512
    batch_bytes: int = 128 * 1000
    compress: bool = False
    inflight_batches: int = 16
    resend_after_s: float = 10.0
    results_cap_bytes: int = 256 * MIB
    events_cap_bytes: int = 16 * MIB
    samples_cap_bytes: int = 64 * MIB
    max_age_s: float | None = None
    memory_rows: int = 50_000
    health_interval_s: float = 30.0
    latest: bool = False
    max_bytes_per_s: float | None = None
    max_bytes_per_day: int | None = None
    quiet_hours: str | None = None

    def __post_init__(self) -> None:
        Connection.__post_init__(self)
        checked_id(self.fleet, "fleet")
        if self.ack not in ("fleet", "broker"):
            raise ConfigError(f"ack is {self.ack!r}; it should be 'fleet' or 'broker'")
        for name, least, most in _RANGES:
            value = getattr(self, name)
            if (
                isinstance(value, bool)
                or not isinstance(value, (int, float))
                or not least <= value <= most
            ):
                raise ConfigError(
                    f"{name} is {value!r}; it should be a number from {least:g} to {most:g}"
                )
        if self.max_age_s is not None and self.max_age_s <= 0:
            raise ConfigError(
                f"max_age_s is {self.max_age_s}; it should be above 0, or None for no limit"
            )
        for name in ("max_bytes_per_s", "max_bytes_per_day"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(
                    f"{name} is {value!r}; it should be above 0, or None for no limit"
                )
        _ = self.allowance

    @property
    def allowance(self) -> Allowance:
        """The part of the settings that limits what the link carries.

        Raises:
            ConfigError: the quiet hours cannot be read.
        """
        quiet = (None, None) if self.quiet_hours is None else parse_hours(self.quiet_hours)
        return Allowance(self.max_bytes_per_s, self.max_bytes_per_day, *quiet)

    def outbox_path(self, device_id: str) -> Path:
        """Where this device's outbox is."""
        if self.outbox is not None:
            return Path(self.outbox)
        return state_directory() / f"outbox-{self.fleet}-{device_id}.db"


def state_directory() -> Path:
    """Where edgeml keeps what must survive a restart.

    `$EDGEML_STATE_DIR`, else `$STATE_DIRECTORY` (which systemd sets), else
    `$XDG_STATE_HOME/edgeml`, else `~/.local/state/edgeml`.
    """
    for variable in ("EDGEML_STATE_DIR", "STATE_DIRECTORY"):
        given = os.environ.get(variable, "").split(":")[0]
        if given:
            return Path(given)
    home = os.environ.get("XDG_STATE_HOME", "")
    return (Path(home) if home else Path.home() / ".local" / "state") / "edgeml"


_RANGES: Final = (
    ("commit_interval_ms", 1, 60_000),
    ("commit_rows", 1, 100_000),
    ("batch_rows", 1, 10_000),
    ("batch_bytes", 1_000, 16 * MIB),
    ("inflight_batches", 1, 1_000),
    ("resend_after_s", 0.05, 3_600),
    ("results_cap_bytes", 64 * 1024, 1 << 40),
    ("events_cap_bytes", 64 * 1024, 1 << 40),
    ("samples_cap_bytes", 64 * 1024, 1 << 40),
    ("memory_rows", 100, 10_000_000),
    ("health_interval_s", 1, 86_400),
)
