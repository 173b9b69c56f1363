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
from typing import Final

from edgeml.errors import BackendError, ConfigError, InputError, nearest
from edgeml.judge import Alarmed, Judge, Watch
from edgeml.labels import labels_of, labels_that_hold
from edgeml.result import Result
from edgeml.runtime.model import Model
from edgeml.sensors.limits import Limits
from edgeml.sensors.sample import Block, Sample, Window
from edgeml.sensors.window import Windower, WindowStats
from edgeml.sourcecheck import complain_of_nothing

_COMPLAINT_WINDOWS: Final = 10
"""After the samples of so many windows, if none was whole, the log says why."""

ModelLike = str | os.PathLike[str] | bytes | Model

log: Final = logging.getLogger("edgeml.lane")

Rescue = Callable[[Model, Exception], bool]
"""Asked when a model fails at a window; True where another one was offered in its place."""


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
        self._judges: list[Judge] = []
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
            self._judges.append(_judge(gate, lambda _: True))
            if isinstance(what, Cascade):
                passes = _passes(what.when, self)
                self._judges.append(_judge(what.then, passes))
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
        return self._judges[0].model

    @property
    def models(self) -> tuple[Model, ...]:
        """Every model of the lane, the gate first."""
        return tuple(judge.model for judge in self._judges)

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
        for judge in self._judges:
            judge.reset()

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
            windower = self._windower
            for window in windower.push_block(items):
                if self._windower is windower:  # else the rest was cut for a model that failed
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
        if all(judge.model.ref.name != model.ref.name for judge in self._judges):
            return False
        shape = model.manifest.inputs.shape
        if len(self._judges) > 1 and shape != self.model.manifest.inputs.shape:
            return False
        self._offered.append((model, owned))
        return True

    def close(self) -> None:
        """Close the models that this lane loaded itself."""
        for judge in self._judges:
            judge.close()
        while self._offered:
            model, owned = self._offered.popleft()
            if owned:
                model.close()

    def _take_over_offered(self) -> None:
        while self._offered:
            self._take_over(*self._offered.popleft())

    def _take_over(self, model: Model, owned: bool) -> None:
        judge = next(one for one in self._judges if one.model.ref.name == model.ref.name)
        before = self.model.manifest.inputs
        judge.take_over(model, owned=owned)
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
        for judge in self._judges:
            if results and not judge.passes(results[-1]):
                judge.pass_over(window)
                self.withheld = judge.model.ref.name
                break
            result = self._ask(judge, window, cut)
            if result is None:
                break
            results.append(result)
        return results

    def _ask(self, judge: Judge, window: Window, cut: bool) -> Result | None:
        """One model's answer; None where it failed, and the window is not for what serves now."""
        name = judge.model.ref.name
        try:
            return judge.answer(window, self.watch.get(name), self.alarmed)
        except (BackendError, InputError) as exc:
            before = self.model.manifest.inputs
            fits = window.data.shape == judge.model.manifest.inputs.shape
            known = self.stats.not_finite
            if cut and fits and isinstance(exc, InputError) and self._windower.leave_out():
                if not known:
                    log.warning("%s: a window is left out: %s", name, exc)
                judge.begin_anew()
                return None
            rescue = self.rescue.get(name)
            if rescue is None or not rescue(judge.model, exc):
                raise
        self._take_over_offered()
        if self.model.manifest.inputs != before:
            return None
        return judge.answer(window, self.watch.get(name), self.alarmed)


def _judge(what: ModelLike, passes: Callable[[Result], bool]) -> Judge:
    if isinstance(what, Model):
        return Judge(what, False, passes)
    return Judge(Model.load(what), True, passes)


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
