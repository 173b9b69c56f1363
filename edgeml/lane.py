"""One model on one stream: its windows, its predictions, its steadied answers.

A device has a lane for each of its models. Each lane cuts the same samples into
the windows of its own model; a cascade shows a window to a costly model only
where a cheap one found reason to.
"""

import logging
import math
import os
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from edgeml.errors import BackendError, BundleError, ConfigError, InputError, nearest
from edgeml.labels import labels_of, labels_that_hold
from edgeml.monitor.drift import Drift, Drifted, Reference
from edgeml.result import Result
from edgeml.runtime.model import Model
from edgeml.runtime.smoothing import Smoother, smoother
from edgeml.sensors.limits import Limits
from edgeml.sensors.sample import Block, Sample, Window
from edgeml.sensors.window import Windower, WindowStats
from edgeml.sourcecheck import complain_of_nothing

_COMPLAINT_WINDOWS: Final = 10
"""After the samples of so many windows, if none was whole, the log says why."""

ModelLike = str | os.PathLike[str] | bytes | Model

log: Final = logging.getLogger("edgeml.lane")

Watch = Callable[[Window, Result], object]
"""Told of each window and what a model made of it, before it is steadied; in the loop."""

Rescue = Callable[[Model, Exception], bool]
"""Asked when a model fails at a window; True where another one was offered in its place."""


class Alarmed(Protocol):
    """Told what speaks against a release, in the loop."""

    def __call__(self, kind: str, release: str | None, reason: str, **facts: object) -> object:
        """An event of that kind, for people and in numbers."""
        ...


@dataclass(frozen=True, slots=True)
class Cascade:
    """A cheap model that decides which windows a costly one sees.

    Attributes:
        gate: sees every window.
        then: sees the windows that pass; it takes the same raw windows.
        when: the gate's labels that let a window pass, or a function of its result.
    """

    gate: ModelLike
    then: ModelLike
    when: str | Sequence[str] | Callable[[Result], bool]


class Lane:
    """A model, or a cascade of two, on a stream of samples.

    Args:
        what: a model, what it is loaded from, or a cascade.
        on_nan: what a reading that is not finite does.
        limits: the range of each channel, by name, beyond which a reading is not believed;
            names of other models' channels are passed over.
        on_out_of_range: what such a reading does.

    Attributes:
        window: the one that was answered last.
        withheld: the model that its cascade's gate kept it from, by name; None for none.
        alarmed: hears of drift; where nobody does, none is measured.

    Raises:
        BundleError, BackendError: a model cannot be loaded.
        ConfigError: the two models of a cascade take different windows, the gate
            has no such label, or a policy is unknown.
    """

    def __init__(
        self,
        what: ModelLike | Cascade,
        *,
        on_nan: str = "restart",
        limits: Mapping[str, tuple[float, float]] | None = None,
        on_out_of_range: str = "restart",
    ) -> None:
        self._stages: list[_Stage] = []
        self._on_nan = on_nan
        self._on_out_of_range = on_out_of_range
        self._factor = 1
        self._complaint_due = math.inf
        self._offered: deque[tuple[Model, bool]] = deque()
        self.watch: dict[str, Watch] = {}
        self.rescue: dict[str, Rescue] = {}
        self.alarmed: Alarmed | None = None
        self.window: Window | None = None
        self.withheld: str | None = None
        try:
            gate = what.gate if isinstance(what, Cascade) else what
            self._stages.append(_Stage(gate, lambda _: True))
            if isinstance(what, Cascade):
                passes = _passes(what.when, self)
                self._stages.append(_Stage(what.then, passes))
                _check_cascade(*self.models)
            self._ranges = limits or {}
            self._limits = _limits_of(self.model, self._ranges)
            self._windower = self._new_windower()
        except BaseException:
            self.close()
            raise

    @property
    def model(self) -> Model:
        """The model that sees every window."""
        return self._stages[0].model

    @property
    def models(self) -> tuple[Model, ...]:
        """Every model of the lane, the gate first."""
        return tuple(stage.model for stage in self._stages)

    @property
    def stats(self) -> WindowStats:
        """What the windower met since the last `restart`."""
        return self._windower.stats

    def labels(self, result: Result) -> Collection[str | None]:
        """The labels that hold for a result of this lane."""
        model = next(one for one in self.models if one.ref.name == result.model.name)
        return labels_that_hold(model, result)

    def restart(self) -> None:
        """Begin a new stream: no window under way, nothing counted, nothing to steady by."""
        self._windower = self._new_windower()
        for stage in self._stages:
            stage.reset()

    def widen(self, factor: int) -> None:
        """Move on by `factor` times the model's stride from the next window on; 1 is normal."""
        self._factor = factor
        self._windower.widen(factor)

    @property
    def stride_s(self) -> float:
        """How long the model's stride lasts; for ever where its rate is not known."""
        inputs = self.model.manifest.inputs
        samples = 1 if inputs.is_picture else inputs.stride
        return samples / inputs.sample_rate_hz if inputs.sample_rate_hz else math.inf

    def push(self, items: Sequence[Sample | Window] | Block) -> Iterator[Result]:
        """Take what arrived together; give the results, one for each window and model asked.

        Raises:
            SensorError: the sample does not fit, or is not finite and the policy is `raise`.
            InputError: the window does not fit.
            BackendError: the interpreter failed.
        """
        self._take_over_offered()
        if self._windower.stats.samples >= self._complaint_due:
            self._complaint_due = math.inf
            complain_of_nothing(self.stats, self.model)
        if isinstance(items, Block):
            for window in self._windower.push_block(items):
                yield from self._answer(window)
            return
        for item in items:
            if isinstance(item, Window):
                yield from self._answer(item, cut=False)
            elif (found := self._windower.push(_sample(item))) is not None:
                yield from self._answer(found)

    def offer(self, model: Model, *, owned: bool = True) -> bool:
        """Serve with another model of the same name between two windows; from any thread.

        Labels, threshold, preprocessing and smoothing change with it, and where it takes
        other windows, the window under way begins anew.

        Args:
            model: warm, if the first window should not wait.
            owned: the lane closes it when it has done with it.

        Returns:
            False where the lane has no model of that name, or cannot take this one.
        """
        if all(stage.model.ref.name != model.ref.name for stage in self._stages):
            return False
        shape = model.manifest.inputs.shape
        if len(self._stages) > 1 and shape != self.model.manifest.inputs.shape:
            return False
        self._offered.append((model, owned))
        return True

    def close(self) -> None:
        """Close the models that this lane loaded itself."""
        for stage in self._stages:
            stage.close()
        while self._offered:
            model, owned = self._offered.popleft()
            if owned:
                model.close()

    def _take_over_offered(self) -> None:
        while self._offered:
            self._take_over(*self._offered.popleft())

    def _take_over(self, model: Model, owned: bool) -> None:
        stage = next(one for one in self._stages if one.model.ref.name == model.ref.name)
        before = self.model.manifest.inputs
        stage.take_over(model, owned=owned)
        if self.model.manifest.inputs != before:
            self._limits = _limits_of(self.model, self._ranges)
            self._windower, stats = self._new_windower(), self.stats
            self._windower.stats = stats
            self._complaint_due += stats.samples

    def _new_windower(self) -> Windower:
        windower = Windower(
            self.model.manifest.inputs,
            on_nan=self._on_nan,
            limits=self._limits,
            on_out_of_range=self._on_out_of_range,
        )
        self._complaint_due = _COMPLAINT_WINDOWS * self.model.manifest.inputs.window
        windower.widen(self._factor)
        return windower

    def _answer(self, window: Window, *, cut: bool = True) -> list[Result]:
        results: list[Result] = []
        self.window, self.withheld = window, None
        for stage in self._stages:
            if results and not stage.passes(results[-1]):
                stage.pass_over(window)
                self.withheld = stage.model.ref.name
                break
            result = self._ask(stage, window, cut)
            if result is None:
                break
            results.append(result)
        return results

    def _ask(self, stage: "_Stage", window: Window, cut: bool) -> Result | None:
        """One model's answer; None where it failed, and the window is not for what serves now."""
        name = stage.model.ref.name
        try:
            return stage.answer(window, self.watch.get(name), self.alarmed)
        except (BackendError, InputError) as exc:
            before = self.model.manifest.inputs
            fits = window.data.shape == stage.model.manifest.inputs.shape
            if cut and fits and isinstance(exc, InputError) and self._on_nan != "raise":
                self._leave_out(stage, exc)
                return None
            rescue = self.rescue.get(name)
            if rescue is None or not rescue(stage.model, exc):
                raise
        self._take_over_offered()
        if self.model.manifest.inputs != before:
            return None
        return stage.answer(window, self.watch.get(name), self.alarmed)

    def _leave_out(self, stage: "_Stage", failure: InputError) -> None:
        """A reading was too much for preprocessing, as good as no number; nobody knows which."""
        if not self.stats.not_finite:
            log.warning("%s: a window is left out: %s", stage.model.ref.name, failure)
        self.stats.not_finite += 1
        stage.begin_anew()
        self._windower.restart()


class _Stage:
    """One model of a lane, with what steadies its answers."""

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

    def __init__(self, what: ModelLike, passes: Callable[[Result], bool]) -> None:
        self._owned = not isinstance(what, Model)
        self.model = what if isinstance(what, Model) else Model.load(what)
        self.passes = passes
        self._broken, self._unseen = False, 0
        self._smoother: Smoother | None = smoother(self.model.manifest.outputs)
        self._drift: Drift | None = None
        self._measured: Model | None = None

    def answer(self, window: Window, watch: Watch | None, alarmed: Alarmed | None) -> Result:
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
        if model is not self.model:
            self.close()
        self.model, self._owned = model, owned
        self.begin_anew()
        self._smoother = smoother(model.manifest.outputs)

    def _measure(self, window: Window, result: Result, alarmed: Alarmed) -> None:
        if self._measured is not self.model:
            self._drift, self._measured = _drift_of(self.model, self._drift), self.model
        found = None if self._drift is None else self._drift.add(window.data, result.outputs)
        if found is not None:
            release = f"{result.model.name}-{result.model.version}"
            alarmed("drift", release, _told(found), **found._asdict())

    def reset(self) -> None:
        if self._smoother is not None:
            self._smoother.reset()

    def close(self) -> None:
        if self._owned:
            self.model.close()


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


def _sample(item: object) -> Sample:
    if isinstance(item, Sample):
        return item
    raise InputError(
        f"the source gave {type(item).__name__}; it should give edgeml.sensors.Sample(time_s, "
        "values) or Window(start_s, end_s, data). An array is a source as Replay(array, …)"
    )


def _limits_of(model: Model, ranges: Mapping[str, tuple[float, float]]) -> Limits | None:
    """The limits of the model's own channels among those given."""
    channels = model.manifest.inputs.channels
    own = {channel.name: ranges[channel.name] for channel in channels if channel.name in ranges}
    return Limits.of(channels, own) if own else None


def _passes(
    when: str | Sequence[str] | Callable[[Result], bool], lane: Lane
) -> Callable[[Result], bool]:
    if callable(when):
        return when
    wanted: Final = frozenset((when,) if isinstance(when, str) else when)
    known = labels_of(lane.model)
    for label in wanted:
        if label not in known:
            raise ConfigError(
                f"cascade: the gate {lane.model.ref.name} has no label {label!r}; "
                f"it has {', '.join(known) or 'none'}{nearest(label, known)}"
            )
    return lambda result: not wanted.isdisjoint(lane.labels(result))


def _check_cascade(gate: Model, then: Model) -> None:
    first, second = gate.manifest.inputs, then.manifest.inputs
    if (first.shape, first.channels) != (second.shape, second.channels):
        raise InputError(
            f"cascade: {gate.ref.name} takes windows {list(first.shape)} and {then.ref.name} "
            f"{list(second.shape)}; both must take the same channels and window"
        )
