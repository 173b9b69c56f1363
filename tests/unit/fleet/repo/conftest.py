"""A repository, bundles for it, and a client of TUF that is not ours."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeml.bundle import Bundle, pack
from edgeml.clock import ManualClock
from edgeml.fleet.repo.repository import Repository

from .tufclient import Client

ROOT = Path(__file__).resolve().parents[4]
ACTIVITY = ROOT / "models" / "activity" / "activity.tflite"

MakeBundle = Callable[..., Path]


@pytest.fixture
def clock() -> ManualClock:
    """Begins at the real time, which is what a TUF client compares expiries with."""
    return ManualClock(time.time())


@pytest.fixture
def bundle(tmp_path: Path) -> MakeBundle:
    """Makes a bundle of a version, with labels of its own where asked for."""
    given = Bundle.read(ACTIVITY)

    def make(version: int, name: str = "activity", suffix: str = "") -> Path:
        labels = tuple(label + suffix for label in given.manifest.outputs.labels)
        outputs = given.manifest.outputs._replace(labels=labels)
        manifest = given.manifest.replace(name=name, version=version, outputs=outputs)
        path = tmp_path / f"{name}-{version}.tflite"
        path.write_bytes(pack(given.tflite, manifest, given.golden, given.baseline))
        return path

    return make


@pytest.fixture
def repository(tmp_path: Path, clock: ManualClock) -> Repository:
    """A repository with nothing in it yet."""
    made = Repository(tmp_path / "repo", clock=clock)
    made.create()
    return made


@pytest.fixture
def client(repository: Repository, tmp_path: Path) -> Client:
    return Client(repository.folder.root, tmp_path / "client")
