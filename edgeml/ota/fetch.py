"""From a signed index to a whole bundle: what is here is copied, the rest is fetched.

Each transport is asked for what is still missing, then the next one. A chunk
counts only once its bytes are those that the index names, so a transport that
lies costs its own time and nothing else.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from edgeml.errors import UpdateError
from edgeml.ota.parcel import Parcel
from edgeml.ota.store import Store
from edgeml.ota.transport import Transport
from edgeml.releases.chunk import MAX_CHUNK_BYTES, decode
from edgeml.releases.index import ReleaseIndex
from edgeml.releases.names import file_name

log: Final = logging.getLogger("edgeml.updates")

_MAX_ENCODED_BYTES: Final = MAX_CHUNK_BYTES + 1


Progress = Callable[[int, int], object]
"""Told how many bytes are here, of how many."""


def fetch(
    store: Store,
    index: ReleaseIndex,
    transports: Sequence[Transport],
    *,
    pieces: Callable[[], Iterable[bytes]] = tuple,
    progress: Progress = lambda _here, _all: None,
) -> list[str]:
    """Get a release together, from where it was left.

    Args:
        store: where it goes.
        index: what it is made of.
        transports: who is asked, the best first.
        pieces: of a model that is here and not in the store: the factory's, cut.
        progress: told of what has come.

    Returns:
        What transports had wrong that others had right.

    Raises:
        UpdateError: it does not fit on the disk, or no transport has all of it now. What
            came is kept, and the next call goes on from there.
    """
    try:
        parcel = Parcel(store, index)
        _copy(store, parcel, pieces)
        progress(parcel.here_bytes, index.bundle_bytes)
        return _fetch(parcel, index, transports, progress)
    except OSError as exc:
        raise UpdateError(
            f"disk: {store.folder} took no more of {index.release} ({exc.strerror or exc})"
        ) from exc


def _copy(store: Store, parcel: Parcel, pieces: Callable[[], Iterable[bytes]]) -> None:
    journal = store.journal
    parcel.copy_from([held for held in (journal.current, journal.previous) if held is not None])
    if journal.current is None and parcel.missing():
        parcel.copy_pieces(pieces())


def _fetch(
    parcel: Parcel, index: ReleaseIndex, transports: Sequence[Transport], progress: Progress
) -> list[str]:
    lies: list[str] = []
    try:
        _ask(parcel, transports, lies, lambda: progress(parcel.here_bytes, index.bundle_bytes))
    finally:
        parcel.sync()
    left = len(parcel.missing())
    if left:
        where = ", ".join(transport.name for transport in transports) or "no transport"
        reason = lies[0] if lies else f"missing: {left} chunks of {index.release}"
        raise UpdateError(f"{reason}; asked {where}, {parcel.fraction:.0%} is here")
    parcel.finish()
    return lies


def _ask(
    parcel: Parcel,
    transports: Sequence[Transport],
    lies: list[str],
    came: Callable[[], object],
) -> None:
    """Ask one transport after the other for what is missing; note what they had wrong."""
    for transport in transports:
        wanted = {file_name(chunk.digest): chunk for _, chunk in parcel.missing()}
        for name, encoded in transport.fetch(list(wanted), _MAX_ENCODED_BYTES):
            chunk = wanted.get(name)
            if chunk is None:
                continue
            try:
                parcel.put(chunk.digest, decode(encoded, chunk.digest, chunk.plain_bytes))
            except UpdateError as exc:
                lies.append(f"{transport.name}: {exc}")
                log.warning("%s: %s", transport.name, exc)
            came()
