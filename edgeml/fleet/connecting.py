"""The options by which a verb reaches a broker; a password never stands on the command line."""

import argparse
from pathlib import Path
from typing import Final

from edgeml.errors import ConfigError
from edgeml.sync.connection import Connection

_FILES: Final = ("password_file", "ca_file", "cert_file", "key_file")


def add_broker_options(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Add the options that make a `Connection`."""
    parser.add_argument(
        "--broker", metavar="URL", required=required, help="mqtts://HOST, mqtt://, wss://, ws://"
    )
    parser.add_argument("--username", help="the user name, if the broker wants one")
    parser.add_argument(
        "--password-file", type=Path, metavar="FILE", help="a file whose first line is the password"
    )
    parser.add_argument(
        "--password-env", metavar="NAME", help="the environment variable that holds the password"
    )
    parser.add_argument("--ca-file", type=Path, metavar="FILE", help="certificates to trust")
    parser.add_argument("--cert-file", type=Path, metavar="FILE", help="this client's certificate")
    parser.add_argument("--key-file", type=Path, metavar="FILE", help="its key")
    parser.add_argument("--alpn", metavar="NAME", help="for a port that serves several protocols")
    parser.add_argument(
        "--reconnect-max-s",
        type=float,
        default=30.0,
        metavar="S",
        help="the longest pause between attempts to reach the broker (%(default)s)",
    )


def broker_connection(args: argparse.Namespace) -> Connection:
    """The connection that the options describe.

    Raises:
        ConfigError: they cannot work, or a file that they name cannot be read. A link reads
            these files with each attempt, and would wait for a misspelt one for ever.
    """
    for option in _FILES:
        path: Path | None = getattr(args, option)
        if path is not None:
            _check_readable(f"--{option.replace('_', '-')}", path)
    return Connection(
        url=args.broker,
        username=args.username,
        password_file=args.password_file,
        password_env=args.password_env,
        ca_file=args.ca_file,
        cert_file=args.cert_file,
        key_file=args.key_file,
        alpn=args.alpn,
        reconnect_min_s=min(0.5, args.reconnect_max_s),
        reconnect_max_s=args.reconnect_max_s,
    )


def _check_readable(option: str, path: Path) -> None:
    try:
        with path.open("rb"):
            return
    except OSError as exc:
        raise ConfigError(f"{option} {path}: cannot be read ({exc.strerror or exc})") from exc
