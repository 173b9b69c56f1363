"""A TUF client on a folder, as somebody else would write one with python-tuf."""

from collections.abc import Callable, Iterator
from pathlib import Path

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from edgeml.fleet.repo.repository import Repository
from edgeml.releases.chunk import decode
from edgeml.releases.index import ReleaseIndex
from edgeml.releases.rollout import Rule

MakeBundle = Callable[..., Path]


class FolderFetcher(FetcherInterface):
    """Hands a TUF client the files of a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = self._root / url.removeprefix("folder://")
        if not path.exists():
            raise DownloadHTTPError("not there", 404)
        yield path.read_bytes()


class Client:
    """python-tuf's own client, which begins with the first root and remembers what it saw."""

    def __init__(self, root: Path, home: Path) -> None:
        self._root = root
        self._home = home
        self._first = (root / "metadata" / "1.root.json").read_bytes()
        home.mkdir(exist_ok=True)

    def refreshed(self) -> Updater:
        updater = Updater(
            str(self._home), "folder://metadata/", str(self._home), "folder://targets/",
            fetcher=FolderFetcher(self._root), config=UpdaterConfig(prefix_targets_with_hash=True),
            bootstrap=self._first,
        )  # fmt: skip
        updater.refresh()
        return updater

    def content(self, target: str) -> bytes | None:
        updater = self.refreshed()
        info = updater.get_targetinfo(target)
        return None if info is None else Path(updater.download_target(info)).read_bytes()

    def bundle(self, release: str) -> bytes:
        data = self.content(f"releases/{release}")
        assert data is not None
        index = ReleaseIndex.parse(data)
        return b"".join(
            decode((self._root / "chunks" / c.digest).read_bytes(), c.digest, c.plain_bytes)
            for c in index.chunks
        )

    def rule(self, group: str = "default", name: str = "activity") -> Rule | None:
        data = self.content(f"rollouts/{group}/{name}")
        return None if data is None else Rule.parse(data)


def files_of(repository: Repository) -> dict[str, bytes]:
    """Whatever lies in a repository's folder, by its path there."""
    root = repository.folder.root
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}
