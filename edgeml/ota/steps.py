"""One model's steps through the table as the device hears of them: taken first, then told."""

import logging
from collections.abc import Callable
from typing import Final

from edgeml.ota.host import Change, Host
from edgeml.ota.states import Event
from edgeml.ota.store import Store

log: Final = logging.getLogger("edgeml.updates")


class Steps:
    """Takes steps, and tells of them.

    Args:
        name: the model's.
        store: what this device has of it.
        host: who hears of them.

    Attributes:
        last_refusal: why nothing came of it when it was told last; "" where nobody need know.
    """

    def __init__(self, name: str, store: Store, host: Host) -> None:
        self._name = name
        self._store = store
        self._host = host
        self.last_refusal = ""

    def take(self, step: Callable[[], object]) -> None:
        """Take a step and tell of it; what is told has happened."""
        step()
        for change in self._store.journal.lately[-1:]:
            self._host.report(change)

    def refuse(self, reason: str) -> None:
        """Say why nothing came of it, once for each reason."""
        log.warning("%s: %s", self._name, reason)
        if reason == self.last_refusal:
            return
        self.last_refusal = reason
        journal = self._store.journal
        release = "" if journal.candidate is None else journal.candidate.release
        state = journal.state.value
        self._host.report(Change(state, Event.REFUSED.value, state, release, reason))
