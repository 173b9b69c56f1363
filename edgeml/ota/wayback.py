"""The way back from a model: in the journal, so that it lasts, and in the loop.

Each half may fail, on a full disk or on a model that cannot be loaded. What is
done stays done, and what is left is tried again until it is.
"""

import logging
from typing import Final

from edgeml.errors import EdgeMLError, UpdateError
from edgeml.ota.host import Host
from edgeml.ota.probation import CRASHES
from edgeml.ota.states import Event
from edgeml.ota.steps import Steps
from edgeml.ota.store import Store

log: Final = logging.getLogger("edgeml.updates")


class WayBack:
    """Undoes the current model.

    Args:
        name: the model's.
        store: what this device has of it.
        host: where it serves.
        steps: takes the step and tells of it.
    """

    def __init__(self, name: str, store: Store, host: Host, steps: Steps) -> None:
        self._name = name
        self._store = store
        self._host = host
        self._steps = steps
        self._undoing: tuple[str, Event] | None = None
        self._stepped_aside = self._owes_swap = False

    @property
    def unfinished(self) -> bool:
        """Whether a half of one is left."""
        return self._undoing is not None or self._owes_swap

    def finish(self) -> None:
        """Do what is left of one.

        Raises:
            UpdateError: as `go`.
        """
        if self._undoing is not None:
            self.go(*self._undoing)
        else:
            self._restore()

    def go(self, reason: str, event: Event) -> None:
        """Undo the current model.

        Raises:
            UpdateError: the disk does not take it; the model before serves all the same.
        """
        self._undoing = (reason, event)
        before = self._store.journal.previous
        try:
            self._steps.take(lambda: self._undo(reason, event))
        except UpdateError:
            # A full card keeps nobody from serving the model before; the journal follows.
            if not self._stepped_aside:
                self._host.swap(None if before is None else self._store.path_of(before))
                self._stepped_aside = True
            raise
        self._restore()

    def _undo(self, reason: str, event: Event) -> None:
        """In the journal; once it is there, nothing that fails may undo one more."""
        self._store.roll_back(reason, event)
        self._undoing, self._stepped_aside, self._owes_swap = None, False, True

    def _restore(self) -> None:
        """Serve what the journal says; where that cannot be loaded, what was before it."""
        self._owes_swap = True
        try:
            self._host.swap(self._store.current)
        except EdgeMLError as exc:
            if self._store.journal.current is None:
                log.warning("%s: the factory's model cannot be loaded: %s", self._name, exc)
                return  # it is tried again with the next turn
            self.go(f"{CRASHES}{exc}", Event.UNHEALTHY)
            return
        self._owes_swap = False
