"""How to reach a broker: where it is, how the line is protected, who is calling.

Both ends of the protocol use it. Secrets come from a file or the environment
and are read anew at each connection, so that a rotated password needs no
restart; they are never part of the URL, which ends up in logs and in `ps`.
"""

import os
import ssl
import stat
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from edgeml.errors import ConfigError, nearest

Protocol = Literal["auto", "5", "3.1.1"]

DEFAULT_PORTS: Final = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
_ALPN_PORT: Final = 443


@dataclass(frozen=True, slots=True)
class Connection:
    """One broker and the credentials for it.

    Attributes:
        url: `mqtt://`, `mqtts://`, `ws://` or `wss://`, a host, optionally a port and, for
            WebSocket, a path.
        username: the user name, if the broker wants one.
        password_file: a file whose first line is the password; others must not be able to read it.
        password_env: the environment variable that holds the password.
        ca_file: certificates to trust instead of the system's.
        cert_file: this client's certificate, in PEM.
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

    Raises:
        ConfigError: a value that cannot work, each named.
    """

    url: str
    _: KW_ONLY
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

    def __post_init__(self) -> None:
        _check_url(self.url)
        if self.password_file is not None and self.password_env is not None:
            raise ConfigError("give the password by password_file or by password_env, not by both")
        if self.username is None and (self.password_file or self.password_env):
            raise ConfigError("a password needs a username")
        if (self.cert_file is None) != (self.key_file is None):
            raise ConfigError("cert_file and key_file come together; one of them is missing")
        if not self.encrypted and (self.ca_file or self.cert_file or self.alpn):
            raise ConfigError(
                f"{self.url} is not encrypted, so ca_file, cert_file and alpn do nothing; "
                "use mqtts:// or wss://"
            )
        if self.alpn is not None and not 0 < len(self.alpn.encode()) < 256:
            raise ConfigError(f"alpn is {self.alpn!r}; it should be a name of 1 to 255 bytes")
        if self.protocol not in ("auto", "5", "3.1.1"):
            raise ConfigError(f"protocol {self.protocol!r} is not 'auto', '5' or '3.1.1'")
        if not 5 <= self.keepalive_s <= 65535:
            raise ConfigError(f"keepalive_s is {self.keepalive_s}; it should be 5 to 65535")
        if not 0 < self.connect_timeout_s <= 300:
            raise ConfigError(
                f"connect_timeout_s is {self.connect_timeout_s}; it should be up to 300"
            )
        if not 0 < self.reconnect_min_s <= self.reconnect_max_s:
            raise ConfigError(
                f"reconnect_min_s is {self.reconnect_min_s} and reconnect_max_s "
                f"{self.reconnect_max_s}; the first should be above 0 and no more than the second"
            )

    @property
    def scheme(self) -> str:
        """`mqtt`, `mqtts`, `ws` or `wss`."""
        return urlsplit(self.url).scheme

    @property
    def host(self) -> str:
        """The broker's host name or address."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The broker's port; the scheme's usual one where the URL names none."""
        return urlsplit(self.url).port or DEFAULT_PORTS[self.scheme]

    @property
    def websocket_path(self) -> str | None:
        """The path of the WebSocket; None where the line is plain MQTT."""
        if self.scheme not in ("ws", "wss"):
            return None
        return urlsplit(self.url).path or "/mqtt"

    @property
    def encrypted(self) -> bool:
        """Whether the line is protected by TLS."""
        return self.scheme in ("mqtts", "wss")

    def password(self) -> str | None:
        """The password, read now from where it is kept.

        Raises:
            ConfigError: the file cannot be read or is readable by others; the variable is not set.
        """
        if self.password_file is not None:
            file = Path(self.password_file)
            refuse_readable_by_others(file)
            try:
                return file.read_text(encoding="utf-8").split("\n", 1)[0].rstrip("\r")
            except (OSError, UnicodeDecodeError) as exc:
                raise ConfigError(f"{file}: the password cannot be read: {exc}") from exc
        if self.password_env is not None:
            try:
                return os.environ[self.password_env]
            except KeyError:
                raise ConfigError(
                    f"password_env names {self.password_env}, which is not set in the environment"
                ) from None
        return None

    def tls_context(self) -> ssl.SSLContext | None:
        """The TLS settings of this line, host name checked; None where it is not encrypted.

        Raises:
            ConfigError: a certificate or key that cannot be loaded or that others can read.
        """
        if not self.encrypted:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError) as exc:
            raise ConfigError(f"ca_file {self.ca_file} cannot be loaded: {exc}") from exc
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.cert_file is not None and self.key_file is not None:
            refuse_readable_by_others(Path(self.key_file))
            try:
                context.load_cert_chain(self.cert_file, self.key_file)
            except (OSError, ssl.SSLError) as exc:
                raise ConfigError(
                    f"cert_file {self.cert_file} and key_file {self.key_file} do not load: {exc}"
                ) from exc
        default = "mqtt" if self.scheme == "mqtts" and self.port == _ALPN_PORT else None
        alpn = default if self.alpn is None else self.alpn
        if alpn is not None:
            context.set_alpn_protocols([alpn])
        return context


def refuse_readable_by_others(path: Path) -> None:
    """Object to a secret that every user of the machine can read.

    Raises:
        ConfigError: the file does not exist, or its mode gives others access.
    """
    try:
        mode = path.stat().st_mode
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}") from exc
    if stat.S_IMODE(mode) & stat.S_IRWXO:
        raise ConfigError(
            f"{path}: holds a secret that every user can read; run: chmod o-rwx {path}"
        )


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise ConfigError(f"the broker's URL {url!r} cannot be read: {exc}") from exc
    if parts.password is not None or parts.username is not None:
        raise ConfigError(
            "the broker's URL carries credentials, which end up in logs; "
            "give username and password_file or password_env instead"
        )
    if parts.scheme not in DEFAULT_PORTS:
        raise ConfigError(
            f"the broker's URL {url!r} should begin with mqtts://, mqtt://, wss:// or ws://"
            f"{nearest(parts.scheme, DEFAULT_PORTS)}"
        )
    if not parts.hostname:
        raise ConfigError(f"the broker's URL {url!r} names no host")
    if port == 0:
        raise ConfigError(f"the broker's URL {url!r} names port 0, which nothing listens on")
    if parts.scheme in ("mqtt", "mqtts") and parts.path not in ("", "/"):
        raise ConfigError(f"the broker's URL {url!r} has a path, which only ws:// and wss:// use")
