"""The model that a device was made with: where all updates begin, and where they may end again."""

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from edgeml.bundle import Bundle
from edgeml.errors import EdgeMLError
from edgeml.lane import ModelLike
from edgeml.ota.host import Verdict
from edgeml.ota.probation import CRASHES
from edgeml.runtime.model import Model
from edgeml.runtime.probe import probe

log: Final = logging.getLogger("edgeml.updates")


class Factory:
    """A model as it was given: a file, its bytes, or loaded already.

    One that was given loaded stays its owner's: it is kept for going back, and
    never closed here.
    """

    def __init__(self, given: ModelLike) -> None:
        self.given = given
        self.manifest = given.manifest if isinstance(given, Model) else _read(given).manifest

    def load(self) -> tuple[Model, bool]:
        """The model, and whether whoever asked has to close it."""
        if isinstance(self.given, Model):
            return self.given, False
        return Model.load(self.given), True

    def probe(self) -> Verdict:
        """How it does in a process of its own; nothing is known of what is in no file."""
        if isinstance(self.given, (Model, bytes)):
            return Verdict(None)
        return probed(Path(self.given))

    def pieces(self) -> Iterable[bytes]:
        """Its bundle, cut as a publisher cuts; nothing where it is not known."""
        from edgeml.cutting import cut  # only the first update of a device's life needs it

        if isinstance(self.given, Model):
            return ()
        try:
            given = self.given
            return cut(given if isinstance(given, bytes) else Path(given).read_bytes())
        except (EdgeMLError, OSError) as exc:
            log.info("the factory's bundle cannot be cut: %s", exc)
            return ()


def probed(path: Path) -> Verdict:
    """How a bundle does in a process of its own on this machine."""
    try:
        report = probe(path)
    except EdgeMLError as exc:
        return Verdict(f"{CRASHES}{exc}")
    if report.error is not None:
        return Verdict(f"{CRASHES}{report.error}")
    if report.violations:
        return Verdict(f"broken promise: {'; '.join(report.violations)}")
    return Verdict(None, report.facts.get("p95_ms"), report.facts.get("peak_rss_mb"))


def _read(given: str | os.PathLike[str] | bytes) -> Bundle:
    return Bundle.from_bytes(given) if isinstance(given, bytes) else Bundle.read(given)
