"""A model at its work: asked about one window after the other, steadied, its drift measured.

What lies between two windows is known here: which rows a model has not seen,
because a gate kept them from it or a window was left out, and whether what came
before still counts.
"""

import logging
from collections.abc import Callable
from typing import Final, Protocol

from edgeml.errors import BundleError
from edgeml.monitor.drift import Drift, Drifted, Reference
from edgeml.result import Result
from edgeml.runtime.model import Model
from edgeml.runtime.smoothing import Smoother, smoother
from edgeml.sensors.sample import Window

log: Final = logging.getLogger("edgeml.judge")

Watch = Callable[[Window, Result], object]
"""Told of each window and what a model made of it, before it is steadied; in the loop."""


class Alarmed(Protocol):
    """Told what speaks against a release, in the loop."""

    def __call__(self, kind: str, release: str | None, reason: str, **facts: object) -> object:
        """An event of that kind, for people and in numbers."""
        ...


class Judge:
    """One model of a lane, with what steadies its answers.

    Args:
        model: warm, if the first window should not wait.
        owned: it is closed with this.
        passes: of a cascade's costly model, whether the gate's result shows it the window.
    """

    __slots__ = (
        "_broken",
        "_drift",
        "_measured",
        "_owned",
        "_smoother",
        "_unseen",
        "model",
        "passes",
    )

    def __init__(self, model: Model, owned: bool, passes: Callable[[Result], bool]) -> None:
        self.model, self._owned = model, owned
        self.passes = passes
        self._broken, self._unseen = False, 0
        self._smoother: Smoother | None = smoother(model.manifest.outputs)
        self._drift: Drift | None = None
        self._measured: Model | None = None

    def answer(self, window: Window, watch: Watch | None, alarmed: Alarmed | None) -> Result:
        """What the model says of a window, steadied; each row of the stream counts once.

        Raises:
            InputError, BackendError: as `Model.predict`.
        """
        new = None if window.new is None else window.new + self._unseen
        broken = window.broken or self._broken
        self._broken, self._unseen = False, 0
        result = self.model.predict(window.data, window.start_s, window.end_s, new)
        if watch is not None:
            watch(window, result)
        if alarmed is not None:
            self._measure(window, result, alarmed)
        if self._smoother is None:
            return result
        if broken:
            self._smoother.reset()
        return self._smoother.push(result)

    def pass_over(self, window: Window) -> None:
        """The gate let it not pass: its rows are new, for filters, when the next one comes."""
        self._broken |= window.broken
        self._unseen += window.new or 0

    def begin_anew(self) -> None:
        """Whatever the model saw before is not what came before its next window."""
        self._broken, self._unseen = True, self.model.manifest.inputs.window

    def take_over(self, model: Model, *, owned: bool) -> None:
        """Ask another model from the next window on."""
        if model is not self.model:
            self.close()
        self.model, self._owned = model, owned
        self.begin_anew()
        self._smoother = smoother(model.manifest.outputs)

    def reset(self) -> None:
        """Forget what steadies: another stream begins."""
        if self._smoother is not None:
            self._smoother.reset()

    def close(self) -> None:
        """Close the model, if it is owned."""
        if self._owned:
            self.model.close()

    def _measure(self, window: Window, result: Result, alarmed: Alarmed) -> None:
        if self._measured is not self.model:
            self._drift, self._measured = _drift_of(self.model, self._drift), self.model
        found = None if self._drift is None else self._drift.add(window.data, result.outputs)
        if found is not None:
            release = f"{result.model.name}-{result.model.version}"
            alarmed("drift", release, _told(found), **found._asdict())


def _drift_of(model: Model, before: Drift | None) -> Drift | None:
    """What measures a model's drift; None where its bundle says nothing of what is normal."""
    inputs = model.manifest.inputs
    if model.baseline is None:
        return None
    try:
        return Drift(Reference.read(model.baseline, len(inputs.channels)), inputs, before)
    except BundleError as exc:
        log.warning("%s: its drift is not measured: %s", model.ref.name, exc)
        return None


def _told(found: Drifted) -> str:
    return f"{found.of}: {found.feature} has an index of {found.psi:.2f}, above {found.level:.2f}"
