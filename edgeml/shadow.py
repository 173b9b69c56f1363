"""A candidate that sees the windows of the incumbent for a while, and whose answers go nowhere.

It runs in a thread of its own. While it is busy with one window, those that come
go by it, so the loop never waits: what it costs the loop is a look at a queue
of one, and a copy of the windows that the candidate takes.
"""

import contextlib
import queue
import threading
from typing import Final

from edgeml.errors import EdgeMLError
from edgeml.ota.host import Shadowed
from edgeml.ota.probation import CRASHES, Means, unsound
from edgeml.result import Result
from edgeml.runtime.model import Model
from edgeml.sensors.sample import Window

_CLOSE_S: Final = 5.0


class Shadow:
    """A shadow run, from its making on.

    Args:
        model: the candidate, which belongs to the run from here on.
        windows: that it is to see.
    """

    def __init__(self, model: Model, windows: int) -> None:
        self._model = model
        self._windows = windows
        self._next: queue.Queue[tuple[Window, Result] | None] = queue.Queue(1)
        self._outcome: Shadowed | None = None
        self._thread = threading.Thread(target=self._run, name="edgeml-shadow", daemon=True)
        self._thread.start()

    @property
    def outcome(self) -> Shadowed | None:
        """What came of it; None while it goes on."""
        return self._outcome

    def see(self, window: Window, result: Result) -> None:
        """Take a window and what the incumbent made of it, if there is time for it; in the loop."""
        if self._next.empty() and self._outcome is None:
            with contextlib.suppress(queue.Full):
                self._next.put_nowait((window._replace(data=window.data.copy()), result))

    def close(self) -> None:
        """End it, whatever it found."""
        with contextlib.suppress(queue.Full):
            self._next.put_nowait(None)
        if self._outcome is None:
            self._outcome = Shadowed("stopped: the shadow run was ended")
        self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        mine, theirs, agreed = Means(), Means(), 0
        try:
            while mine.count < self._windows and self._outcome is None:
                given = self._next.get()
                if given is None:
                    return
                window, incumbent = given
                result = self._model.predict(window.data, window.start_s, window.end_s, None)
                reason = unsound(result)
                if reason is not None:
                    self._outcome = Shadowed(reason)
                    return
                mine.add(result)
                theirs.add(incumbent)
                agreed += result.label == incumbent.label
            self._outcome = Shadowed(
                None,
                {
                    "windows": mine.count,
                    "agreement": agreed / max(mine.count, 1),
                    "candidate_us": round(mine.incumbent.mean_us or 0.0, 1),
                    "incumbent_us": round(theirs.incumbent.mean_us or 0.0, 1),
                },
            )
        except EdgeMLError as exc:
            self._outcome = Shadowed(f"{CRASHES}{exc}")
        finally:
            self._model.close()
