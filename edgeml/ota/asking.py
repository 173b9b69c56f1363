"""What is published, by whichever way it comes: every way is asked, the newest proven word counts.

A stick may hold the release of last month and the broker that of today, or the
other way round. Trust only moves forward, so asking all of them ends at the
newest; what one of them has wrong or late is told, and keeps nobody from
listening to the next.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from edgeml.errors import TrustError, UpdateError
from edgeml.ota.standing import Get, Standing
from edgeml.ota.transport import MAX_FILE_BYTES, Transport
from edgeml.releases.index import ReleaseIndex
from edgeml.releases.names import TIMESTAMP

T = TypeVar("T")
log: Final = logging.getLogger("edgeml.updates")

_FETCHED_TIMESTAMP_BYTES: Final = 64 << 10
"""More than trust takes, so that one which is too long is judged, and named for what it is."""

_HARMLESS: Final = ("missing", "rollback", "expired")
"""What an old stick or a server that is off says, too: told only where nobody says better."""


@dataclass(frozen=True, slots=True)
class Floor:
    """The latest signed time that was seen, and the version of the root under which it was."""

    signed_s: int = 0
    root: int = 0


class Trusting(Protocol):
    """What is needed of `trust.Trust`, in this process or in one of its own."""

    def check(
        self,
        get: Get,
        group: str,
        names: tuple[str, ...],
        now_s: float,
        floor_s: float,
        floor_root: int | None = None,
    ) -> Standing:
        """What the publisher says."""
        ...

    def index(self, get: Get, release: str) -> ReleaseIndex:
        """What a release is made of."""
        ...


class Asking:
    """The ways to what is published, and what this device believes of it.

    Args:
        trust: what this device believes.
        transports: where published files come from, the best first.
    """

    def __init__(self, trust: Trusting, transports: Sequence[Transport]) -> None:
        self._trust = trust
        self.transports = transports

    def standing(
        self, group: str, name: str, now_s: float, floor: Floor
    ) -> tuple[Standing, UpdateError | None]:
        """The newest that is proven, and the first thing that somebody had wrong, if so.

        Raises:
            UpdateError: nobody has anything that is proven.
        """
        found: Standing | None = None
        refusals: list[UpdateError] = []
        for transport in self.transports:
            got = _tried(
                transport,
                lambda get: self._trust.check(
                    get, group, (name,), now_s, floor.signed_s, floor.root
                ),
            )
            if isinstance(got, UpdateError):
                refusals.append(got)
            else:
                found = got
        wrong = _wrong(refusals)
        if found is None:
            raise self._nothing(_worst(wrong or refusals))
        return found, wrong[0] if wrong else None

    def index(self, release: str) -> tuple[ReleaseIndex, list[str]]:
        """What a release is made of, from whoever has it right, and what somebody has wrong.

        Raises:
            UpdateError: nobody has.
            UpdateError: it is signed, and still none.
        """
        refusals: list[UpdateError] = []
        for transport in self.transports:
            got = _tried(transport, lambda get: self._trust.index(get, release))
            if not isinstance(got, UpdateError):
                return got, list(map(str, _wrong(refusals)))
            refusals.append(got)
        raise _worst(refusals)

    def _nothing(self, exc: UpdateError) -> UpdateError:
        """The same; where nothing is there at all, with the places where it was looked for."""
        if _word(exc) != "missing" or not self.transports:
            return exc
        places = ", ".join(transport.where for transport in self.transports)
        return type(exc)(f"{exc}; looked for in {places}")


def _tried(transport: Transport, ask: Callable[[Get], T]) -> T | UpdateError:
    """What one transport's files prove, or why they prove nothing."""
    try:
        return ask(_getter(transport))
    except UpdateError as exc:
        log.info("%s: %s", transport.name, exc)
        return exc


def _wrong(refusals: Sequence[UpdateError]) -> list[UpdateError]:
    """Those of somebody who has something, and has it wrong."""
    return [exc for exc in refusals if _word(exc) not in _HARMLESS]


def _worst(refusals: Sequence[UpdateError]) -> UpdateError:
    """The one that says most: what is not there says least."""
    if not refusals:
        return TrustError("missing: there is no way to published files")
    return next((exc for exc in refusals if _word(exc) != "missing"), refusals[0])


def _word(exc: UpdateError) -> str:
    return str(exc).partition(":")[0]


def _getter(transport: Transport) -> Get:
    def get(name: str) -> bytes | None:
        most = _FETCHED_TIMESTAMP_BYTES if name == TIMESTAMP else MAX_FILE_BYTES
        for found, data in transport.fetch([name], most):
            if found == name:
                return data
        return None

    return get
