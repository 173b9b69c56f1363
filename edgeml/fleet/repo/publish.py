"""What leaves the repository, in which order, and how it gets into a folder.

A web root, a USB stick and a broker's topics hold the same files under the same
names: chunks and TUF's target files by the SHA-256 of what is in them, then the
metadata, then the timestamp. Whatever is cut off in between leaves devices with
the old metadata and everything that it names.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgeml.errors import UpdateError
from edgeml.fleet.repo import contents
from edgeml.fleet.repo.folder import Folder, read_file, write_file
from edgeml.fleet.repo.ledger import Ledger
from edgeml.fleet.repo.packing import encode, encode_metadata
from edgeml.releases import names

_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Sent:
    """What a publication came to."""

    files: int
    bytes: int
    known: int


class Outgoing:
    """Everything that devices may ask for, by its published name.

    Raises:
        TrustError: no device would accept the metadata as it is.
    """

    def __init__(self, ledger: Ledger, now_s: float) -> None:
        ledger.verify(now_s)
        self._ledger = ledger
        self._chunks = contents.live_chunks(ledger)
        self._targets = contents.targets_of(ledger)

    @property
    def digests(self) -> list[str]:
        """The digests of chunks and target files; what changes goes last."""
        return [*self._chunks, *(d for d in self._targets if d not in self._chunks)]

    def file(self, digest: str) -> bytes | None:
        """A chunk or a target file, packed; None where no live release or rule names it."""
        if digest in self._chunks:
            return read_file(self._ledger.folder.chunk(digest))
        target = self._targets.get(digest)
        return None if target is None else encode(self._ledger.content(target))

    def metadata(self) -> Iterator[tuple[str, bytes]]:
        """The metadata and then the timestamp, which makes it count."""
        files = self._ledger.files
        yield names.METADATA, encode_metadata(files)
        yield names.TIMESTAMP, files["timestamp.json"]

    def tuf_files(self) -> Iterator[tuple[str, bytes]]:
        """The same as any TUF client looks for it: below `metadata/` and `targets/`."""
        for target in self._targets.values():
            for path in target.get_prefixed_paths():
                yield f"targets/{path}", self._ledger.content(target)
        for name, data in self._ledger.files.items():
            yield f"metadata/{name}", data


def to_folder(outgoing: Outgoing, folder: Path) -> Sent:
    """Publish into a folder: a web server's, or a stick for devices without a network.

    Files that are there already are left alone.

    Raises:
        UpdateError: it cannot be written.
    """
    if not folder.parent.exists():
        raise UpdateError(f"{folder.parent}: no such folder; is the stick mounted?")
    sent = sent_bytes = known = 0
    for digest in outgoing.digests:
        place = folder / names.file_name(digest)
        if place.exists():
            known += 1
            continue
        data = outgoing.file(digest)
        if data is not None:
            write_file(place, data)
            sent, sent_bytes = sent + 1, sent_bytes + len(data)
    for name, data in (*outgoing.tuf_files(), *outgoing.metadata()):
        place = folder / name
        if place.exists() and place.read_bytes() == data:
            known += 1
            continue
        write_file(place, data)
        sent, sent_bytes = sent + 1, sent_bytes + len(data)
    return Sent(sent, sent_bytes, known)


def clear_folder(outgoing: Outgoing, folder: Path) -> int:
    """Delete published chunks and target files that nothing live names; how many there were."""
    live = set(outgoing.digests)
    gone = [path for path in (folder / "c").glob("*") if path.name not in live]
    for path in gone:
        path.unlink(missing_ok=True)
    return len(gone)


def collect(ledger: Ledger) -> int:
    """Delete what no live release, rule or client needs from the repository; how many files.

    Every root stays: a device that was off for years follows them one by one.
    """
    root = ledger.folder.root
    chunks = contents.live_chunks(ledger)
    targets = {
        path for t in contents.targets_of(ledger).values() for path in t.get_prefixed_paths()
    }
    gone = [path for path in (root / "chunks").iterdir() if path.name not in chunks]
    gone += [
        path
        for path in (root / "targets").rglob("*")
        if path.is_file() and str(path.relative_to(root / "targets")) not in targets
    ]
    gone += [path for path in (root / "metadata").iterdir() if path.name not in ledger.files]
    for path in gone:
        path.unlink(missing_ok=True)
    return len(gone)


@dataclass(slots=True)
class Record:
    """What a broker was given, as far as this folder knows; the broker may have forgotten it.

    Attributes:
        path: where it is written.
        digests: of the files that were confirmed.
    """

    path: Path
    digests: set[str]

    @classmethod
    def of(cls, folder: Folder, broker: str, fleet: str) -> "Record":
        """The record of one broker and fleet; empty where there is none that can be read."""
        from edgeml.releases.chunk import digest_of

        path = folder.root / "published" / f"{digest_of(f'{broker} {fleet}'.encode())[:16]}.json"
        try:
            document = json.loads(path.read_bytes())
            return cls(path, {str(d) for d in document["digests"]})
        except (OSError, ValueError, KeyError, TypeError):
            return cls(path, set())

    def write(self) -> None:
        """Keep it."""
        document = {"v": _VERSION, "digests": sorted(self.digests)}
        write_file(self.path, json.dumps(document).encode())
