"""What the device believes survives a power cut: no version that it has seen is forgotten.

python-tuf writes with the machine's own files, so a cut is made of them: up to
some operation of ours, then of each file that was changed and not synced there
is the old one, nothing, an empty one, half of it, or the new one.
"""

import itertools
import random
import shutil
from pathlib import Path

import pytest

from edgeml.errors import TrustError
from edgeml.ota.disk import SystemDisk
from edgeml.ota.trust import Trust

from .hostile import Publication, Spoils

SEEDS = 2


class PowerCutError(BaseException):
    """The power went; nothing of edgeml may catch it."""


class CutDisk(SystemDisk):
    """The machine's files, and the power that goes before an operation."""

    def __init__(self, cut_at: int | None = None) -> None:
        self.operations = 0
        self.synced: set[Path] = set()
        self._cut_at = cut_at

    def _count(self) -> None:
        if self.operations == self._cut_at:
            raise PowerCutError
        self.operations += 1

    def sync(self, path: Path) -> None:
        self._count()
        super().sync(path)
        self.synced.add(path)

    def sync_folder(self, folder: Path) -> None:
        self._count()
        super().sync_folder(folder)

    def rename(self, old: Path, new: Path) -> None:
        self._count()
        super().rename(old, new)
        self.synced.discard(new)
        if old in self.synced:
            self.synced.remove(old)
            self.synced.add(new)


@pytest.fixture(scope="module")
def spoils(tmp_path_factory: pytest.TempPathFactory) -> Spoils:
    return Spoils(tmp_path_factory.mktemp("spoils"))


def check(folder: Path, spoils: Spoils, files: Publication, disk: SystemDisk | None = None) -> int:
    trust = Trust(folder, spoils.root, disk=disk)
    now_s = spoils.publisher.clock.now_s()
    return trust.check(files.get, "default", ("activity",), now_s, 0.0).offers["activity"].rule.upto


def tear(before: Path, after: Path, synced: set[Path], chance: random.Random) -> None:
    """What the next start finds, in place of `after`."""
    for path in [path for path in after.rglob("*") if path.is_file() and not path.is_symlink()]:
        data = path.read_bytes()
        place = before / path.relative_to(after)
        old = place.read_bytes() if place.exists() else None
        if path in synced or data == old:
            continue
        left = chance.choice((old, None, b"", data[: len(data) // 2], data))
        if left is None:
            path.unlink()
        else:
            path.write_bytes(left)


def _before(tmp_path: Path, spoils: Spoils) -> Path:
    before = tmp_path / "before"
    assert check(before, spoils, spoils.offer) == 10_000
    return before


def test_after_a_power_cut_anywhere_the_device_learns_what_is_new_and_believes_nothing_older(
    tmp_path: Path, spoils: Spoils
) -> None:
    before = _before(tmp_path, spoils)
    whole = CutDisk()
    shutil.copytree(before, tmp_path / "whole", symlinks=True)
    check(tmp_path / "whole", spoils, spoils.later, whole)
    assert whole.operations > 15
    for cut_at, seed in itertools.product(range(whole.operations), range(SEEDS)):
        folder = tmp_path / "now"
        shutil.copytree(before, folder, symlinks=True)
        disk = CutDisk(cut_at)
        with pytest.raises(PowerCutError):
            check(folder, spoils, spoils.later, disk)
        tear(before, folder, disk.synced, random.Random(cut_at * 100 + seed))
        with pytest.raises(TrustError, match=r"^rollback: "):
            check(folder, spoils, spoils.quiet)
        assert check(folder, spoils, spoils.later) == 10_000
        with pytest.raises(TrustError, match=r"^rollback: "):
            check(folder, spoils, spoils.offer)
        shutil.rmtree(folder)


def test_all_that_is_believed_is_on_the_medium_before_anything_is_done_about_it(
    tmp_path: Path, spoils: Spoils
) -> None:
    disk = CutDisk()
    check(tmp_path / "trust", spoils, spoils.offer, disk)
    files = {path for path in (tmp_path / "trust").rglob("*.json") if not path.is_symlink()}
    assert {"timestamp.json", "snapshot.json", "targets.json"} <= {path.name for path in files}
    assert files == disk.synced


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path, spoils: Spoils) -> None:
    before = _before(tmp_path, spoils)
    (before / "tmpabc123").write_bytes(b'{"signed"')
    Trust(before, spoils.root)
    assert not list(before.glob("tmp*"))
