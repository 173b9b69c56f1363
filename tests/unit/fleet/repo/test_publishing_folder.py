"""What is published into a folder, what is cleared away, and what is held back."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeml.errors import TrustError, UpdateError
from edgeml.fleet.repo.ledger import Ledger
from edgeml.fleet.repo.publish import Outgoing, clear_folder, collect, to_folder
from edgeml.fleet.repo.repository import Repository
from edgeml.releases.chunk import decode, decode_file
from edgeml.releases.index import ReleaseIndex
from edgeml.releases.metadata import parse_metadata

from .tufclient import Client

MakeBundle = Callable[..., Path]


def test_a_folder_is_published_whole_and_the_second_time_for_nothing(
    repository: Repository, bundle: MakeBundle, tmp_path: Path
) -> None:
    path = bundle(1)
    repository.release([path])
    repository.rollout("activity-1", 10_000)
    web = tmp_path / "web"
    with repository.open() as now:
        first = to_folder(Outgoing(now, 0.0), web)
        again = to_folder(Outgoing(now, 0.0), web)
    assert first.known == 0
    assert again == type(again)(files=0, bytes=0, known=first.files)
    files = parse_metadata((web / "tuf" / "bundle").read_bytes())
    assert files["timestamp.json"] == (web / "tuf" / "timestamp").read_bytes()
    assert set(files) == {
        "1.root.json", "timestamp.json", "3.snapshot.json", "2.targets.json", "2.rollout.json",
    }  # fmt: skip
    client = Client(web, tmp_path / "client")
    info = client.refreshed().get_targetinfo("releases/activity-1")
    assert info is not None
    digest = info.hashes["sha256"]
    index = ReleaseIndex.parse(decode_file((web / "c" / digest).read_bytes(), info.length, digest))
    chunks = [(web / "c" / c.digest).read_bytes() for c in index.chunks]
    plain = [decode(d, c.digest, c.plain_bytes) for d, c in zip(chunks, index.chunks, strict=True)]
    assert b"".join(plain) == path.read_bytes()


def test_gc_leaves_what_live_releases_need(
    repository: Repository, bundle: MakeBundle, tmp_path: Path
) -> None:
    repository.release([bundle(1)])
    repository.release([bundle(2, suffix="!")])
    repository.release([bundle(3, suffix="?")])
    repository.rollout("activity-2", 10_000)
    web = tmp_path / "web"
    with repository.open() as now:
        to_folder(Outgoing(now, 0.0), web)
    assert repository.retire(1) == ["activity-1"]
    with repository.open() as now:
        assert collect(now) > 0
        assert collect(now) == 0
        to_folder(Outgoing(now, 0.0), web)
        assert clear_folder(Outgoing(now, 0.0), web) > 0
        assert clear_folder(Outgoing(now, 0.0), web) == 0
        assert {p.name for p in (web / "c").iterdir()} == set(Outgoing(now, 0.0).digests)
        now.verify(0.0)
    client = Client(repository.folder.root, tmp_path / "client")
    assert client.bundle("activity-2")
    assert client.bundle("activity-3")
    with pytest.raises(UpdateError, match="version 4"):
        repository.release([bundle(1)])


def test_what_no_device_would_accept_is_not_published(
    repository: Repository, tmp_path: Path
) -> None:
    other = Repository(tmp_path / "other")
    other.create()
    shutil.copy(
        other.folder.metadata("1.targets.json"), repository.folder.metadata("1.targets.json")
    )
    with pytest.raises(TrustError, match="no device would accept"):
        Outgoing(Ledger.read(repository.folder), 0.0)
