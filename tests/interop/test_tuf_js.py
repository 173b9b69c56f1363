"""A TUF client of another language reads the repository and downloads a release: tuf-js.

`make interop` installs it; without node these tests are skipped.
"""

import functools
import http.server
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeml.bundle import Bundle, pack
from edgeml.fleet.repo.publish import Outgoing, to_folder
from edgeml.fleet.repo.repository import Repository

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MODULES = ROOT / "build" / "interop" / "node_modules"
NODE = shutil.which("node")

pytestmark = [
    pytest.mark.workstation,
    pytest.mark.skipif(NODE is None, reason="no node on this machine; tuf-js needs one"),
    pytest.mark.skipif(not MODULES.exists(), reason="tuf-js is not installed; run: make interop"),
]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    folder = tmp_path / "web"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def _bundle(path: Path, version: int) -> Path:
    bundle = Bundle.read(ROOT / "models" / "activity" / "activity.tflite")
    manifest = bundle.manifest.replace(version=version)
    path.write_bytes(pack(bundle.tflite, manifest, bundle.golden, bundle.baseline))
    return path


def test_a_client_in_javascript_downloads_releases_across_rotations(
    tmp_path: Path, web: tuple[Path, str]
) -> None:
    folder, url = web
    repository = Repository(tmp_path / "repo")
    repository.create()

    def download(release: str) -> tuple[dict[str, Any], Path]:
        with repository.open() as now:
            to_folder(Outgoing(now, 0.0), folder)
        out = tmp_path / "out.tflite"
        done = subprocess.run(
            [
                str(NODE), str(HERE / "client.mjs"), url,
                str(repository.folder.metadata("1.root.json")),
                str(tmp_path / "home"), release, str(out), str(MODULES.parent),
            ],
            capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document, out

    first = _bundle(tmp_path / "one.tflite", 1)
    repository.release([first])
    rule = repository.rollout("activity-1", 10_000)
    document, out = download("activity-1")
    assert out.read_bytes() == first.read_bytes()
    assert document["rule"]["upto"] == rule.upto

    for role in ("root", "targets", "snapshot", "timestamp", "rollout", "root"):
        repository.rotate(role)
    second = _bundle(tmp_path / "two.tflite", 2)
    repository.release([second])
    _, out = download("activity-2")
    assert out.read_bytes() == second.read_bytes()

    repository.revoke("activity-2")
    document, _ = download("activity-2")
    assert document == {"release": None}
