"""A Mosquitto that trusts no device further than its own topics.

A device's user name is its id, and a pattern in the access list lets it write
under that id only. What goes to many devices is read-only for them; the ingest
and whoever publishes updates are users of their own. Encrypted, nobody
anonymous, persistent.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgeml.errors import ConfigError, StoreError
from edgeml.sync import topics

_DEVICE_WRITES: Final = (
    topics.STATE,
    topics.RESULTS,
    topics.EVENTS,
    topics.SAMPLES,
    topics.HEALTH,
    topics.LATEST,
)
CONFIGURATION: Final = "mosquitto.conf"
ACCESS_LIST: Final = "acl"
PASSWORDS: Final = "passwords"
_QUEUED: Final = 10_000


@dataclass(frozen=True, slots=True)
class BrokerPlan:
    """What the configuration should say.

    Attributes:
        fleet: the fleet that the broker serves.
        directory: where the files will live; the configuration names them by these paths.
        ca_file: the certificates that clients' certificates are checked against.
        cert_file: the broker's certificate.
        key_file: its key.
        port: where it listens.
        client_certificates: a client's certificate is its credential, its common name the user
            name; otherwise user names and passwords are.
        ingest_user: the user name of the ingests.
        publisher_user: the user name of whoever publishes models.
        data_directory: where Mosquitto keeps what it must not forget.
        devices: how many there will be; whoever connects is handed a retained state of each, and
            Mosquitto drops what it cannot queue.
    """

    fleet: str
    directory: Path
    ca_file: Path
    cert_file: Path
    key_file: Path
    port: int = 8883
    client_certificates: bool = False
    ingest_user: str = "ingest"
    publisher_user: str = "publisher"
    data_directory: Path = Path("/var/lib/mosquitto")
    devices: int = 5_000

    def __post_init__(self) -> None:
        topics.checked_id(self.fleet, "fleet")
        topics.checked_id(self.ingest_user, "ingest user")
        topics.checked_id(self.publisher_user, "publisher user")
        if self.ingest_user == self.publisher_user:
            raise ConfigError(f"ingest and publisher are both {self.ingest_user!r}; use two users")
        if self.devices < 1:
            raise ConfigError(f"devices is {self.devices}; it should be how many there will be")
        if not 0 < self.port < 65536:
            raise ConfigError(f"port {self.port} is not a port; it should be 1 to 65535")


def configuration(plan: BrokerPlan) -> str:
    """The text of `mosquitto.conf`."""
    if plan.client_certificates:
        who = ["require_certificate true", "use_identity_as_username true"]
    else:
        who = [f"password_file {plan.directory / PASSWORDS}"]
    lines = [
        f"# The broker of the edgeml fleet {plan.fleet}.",
        "per_listener_settings false",
        f"listener {plan.port}",
        f"cafile {plan.ca_file}",
        f"certfile {plan.cert_file}",
        f"keyfile {plan.key_file}",
        "tls_version tlsv1.2",
        "allow_anonymous false",
        *who,
        f"acl_file {plan.directory / ACCESS_LIST}",
        "persistence true",
        f"persistence_location {plan.data_directory}/",
        "autosave_interval 60",
        f"max_queued_messages {max(_QUEUED, 2 * plan.devices)}",
        "log_type error",
        "log_type warning",
        "log_type notice",
        "log_type information",
        "# Refused messages are logged at this level only; it is how an attempt becomes visible.",
        "log_type debug",
    ]
    return "\n".join(lines) + "\n"


def access_list(plan: BrokerPlan) -> str:
    """The text of the access list; `%u` is the user name, which is the device's id."""
    root = topics.device_topic(plan.fleet, "", "")[: -len("d//")]
    own = [f"pattern write {root}d/%u/{channel}" for channel in _DEVICE_WRITES]
    ingest_reads = [f"topic read {root}d/+/{channel}" for channel in _DEVICE_WRITES]
    lines = [
        f"# Fleet {plan.fleet}. A device writes under its own id only: user name = device id.",
        *own,
        f"pattern read {root}d/%u/{topics.ACK}",
        f"pattern read {root}d/%u/{topics.STATE}",
        "# What goes to many devices is read-only for them.",
        f"pattern read {root}tuf/+",
        f"pattern read {root}c/+",
        f"pattern write {root}want/+",
        "",
        f"user {plan.ingest_user}",
        *ingest_reads,
        f"topic write {root}d/+/{topics.ACK}",
        "",
        f"user {plan.publisher_user}",
        f"topic write {root}tuf/+",
        f"topic write {root}c/+",
        f"topic read {root}want/+",
        "# Whoever leads a rollout publishes rules and hears how devices fare.",
        f"topic read {root}d/+/{topics.STATE}",
        f"topic read {root}d/+/{topics.EVENTS}",
    ]
    return "\n".join(lines) + "\n"


def write_files(plan: BrokerPlan) -> tuple[Path, Path]:
    """Write both files into the plan's directory.

    Returns:
        Their paths: the configuration, the access list.

    Raises:
        StoreError: they cannot be written.
    """
    conf, acl = plan.directory / CONFIGURATION, plan.directory / ACCESS_LIST
    try:
        plan.directory.mkdir(parents=True, exist_ok=True)
        conf.write_text(configuration(plan), encoding="utf-8")
        acl.write_text(access_list(plan), encoding="utf-8")
        acl.chmod(0o640)
    except OSError as exc:
        raise StoreError(f"{plan.directory}: cannot be written: {exc}") from exc
    return conf, acl
