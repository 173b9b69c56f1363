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
from edgeml.sync.connection import Connection, Protocol
from edgeml.sync.topics import checked_id

AckMode = Literal["fleet", "broker"]

MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Mqtt:
    """How a device's results get to a broker.

    Attributes:
        url: the broker: `mqtts://broker.local`, `mqtt://`, `wss://`, `ws://`, optionally with a
            port.
        fleet: the fleet this device belongs to.
        outbox: the outbox's file; by default `outbox-FLEET-DEVICE.db` in `state_directory()`.
        ack: who confirms a result. `"fleet"` keeps it until an edgeml ingest has committed it;
            `"broker"` lets go when the broker has answered, and then a broker that dies loses it.
        username: the user name, if the broker wants one.
        password_file: a file whose first line is the password; others must not be able to read it.
        password_env: the environment variable that holds the password.
        ca_file: certificates to trust instead of the system's.
        cert_file: this device's certificate, in PEM.
        key_file: its key, in PEM; others must not be able to read it.
        alpn: what the TLS handshake asks for, where one port serves several protocols; by
            default `mqtt` on port 443 of `mqtts://`. AWS wants `x-amzn-mqtt-ca` there of a device
            with a certificate.
        protocol: `"5"`, `"3.1.1"`, or `"auto"`: 5, and 3.1.1 where the broker does not know it.
        keepalive_s: a silent line is taken for dead after this long.
        connect_timeout_s: gives up reaching the broker after this long.
        reconnect_min_s: the first pause between attempts; it doubles up to `reconnect_max_s`, with
            jitter.
        reconnect_max_s: the longest pause between attempts.
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
        max_bytes_per_s: for a metered link: so many bytes of messages a second, on average.
        max_bytes_per_day: so many in each day since the start of the process.
        quiet_hours: `"22:00-06:00"`, in UTC by the device's clock: results wait, events go.

    Raises:
        ConfigError: a value that cannot work, each named.
    """

    url: str
    fleet: str = "default"
    _: KW_ONLY
    outbox: Path | str | None = None
    ack: AckMode = "fleet"
    username: str | None = None
    password_file: Path | str | None = None
    password_env: str | None = None
    ca_file: Path | str | None = None
    cert_file: Path | str | None = None
    key_file: Path | str | None = None
    alpn: str | None = None
    protocol: Protocol = "auto"
    keepalive_s: int = 60
    connect_timeout_s: float = 10.0
    reconnect_min_s: float = 1.0
    reconnect_max_s: float = 60.0
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
        _ = self.connection, self.allowance

    @property
    def allowance(self) -> Allowance:
        """The part of the settings that limits what the link carries.

        Raises:
            ConfigError: the quiet hours cannot be read.
        """
        quiet = (None, None) if self.quiet_hours is None else parse_hours(self.quiet_hours)
        return Allowance(self.max_bytes_per_s, self.max_bytes_per_day, *quiet)

    @property
    def connection(self) -> Connection:
        """The part of the settings that reaches the broker.

        Raises:
            ConfigError: the URL or the credentials cannot work.
        """
        return Connection(
            url=self.url,
            username=self.username,
            password_file=_path(self.password_file),
            password_env=self.password_env,
            ca_file=_path(self.ca_file),
            cert_file=_path(self.cert_file),
            key_file=_path(self.key_file),
            alpn=self.alpn,
            protocol=self.protocol,
            keepalive_s=self.keepalive_s,
            connect_timeout_s=self.connect_timeout_s,
            reconnect_min_s=self.reconnect_min_s,
            reconnect_max_s=self.reconnect_max_s,
        )

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


def _path(value: Path | str | None) -> Path | None:
    return None if value is None else Path(value)


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
