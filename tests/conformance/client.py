"""The device's trust code behind the command line of theupdateframework/tuf-conformance.

The suite's repositories are served file by file, not as a metadata bundle, so
the fetcher is another one. All else is the device's: `edgeml.ota.trust` with
its bootstrap, its limits, its floor and its errors.
"""

import argparse
import contextlib
import http.client
import sys
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tuf.api.exceptions import DownloadHTTPError

from edgeml.errors import EdgeMLError
from edgeml.ota.trust import BASE_URL, Fetcher, Trust

TIMEOUT_S: Final = 20.0
FIRST_ROOT: Final = "first.root"


class OneByOne(Fetcher):
    """Each file from a web server, as the suite serves it."""

    def _fetch(self, url: str) -> Iterator[bytes]:
        data = self._get(url.removeprefix(BASE_URL))
        if data is None:
            raise DownloadHTTPError(f"{url} is not there", 404)
        yield data


def _get(metadata_url: str, targets_url: str, name: str) -> bytes | None:
    kind, _, path = name.partition("/")
    base = metadata_url if kind == "metadata" else targets_url
    parts = urllib.parse.urlsplit(base)
    connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT_S)
    with contextlib.closing(connection):
        connection.request("GET", f"{parts.path.rstrip('/')}/{path}")
        response = connection.getresponse()
        return response.read() if response.status == http.client.OK else None


def _run(given: argparse.Namespace) -> None:
    folder = Path(given.metadata_dir)
    if given.command == "init":
        data = Path(given.trusted_root).read_bytes()
        (folder / FIRST_ROOT).write_bytes(data)
        (folder / "root.json").write_bytes(data)  # where the suite looks for what is trusted
        return
    trust = Trust(folder, (folder / FIRST_ROOT).read_bytes(), OneByOne)
    updater = trust.refresh(
        lambda name: _get(given.metadata_url, given.target_base_url, name), time.time(), 0.0
    )
    for target in given.target_name:
        data = trust.download(updater, target)
        (Path(given.target_dir) / urllib.parse.quote(target, "")).write_bytes(data)


def main() -> int:
    """What the suite calls; the exit status is the answer."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--metadata-dir", required=True)
    parser.add_argument("--metadata-url", default="")
    parser.add_argument("--target-name", action="append", default=[])
    parser.add_argument("--target-dir", default="")
    parser.add_argument("--target-base-url", default="")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("init").add_argument("trusted_root")
    commands.add_parser("refresh")
    commands.add_parser("download")
    try:
        _run(parser.parse_args())
    except EdgeMLError as exc:
        print(exc, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
