"""From a trained model to a bundle, step by step; every decision is another module's.

The source is opened once and saved once. Each scheme is converted from that one
SavedModel, checked, run in the devices' own interpreter and judged against the
float model; the one that is chosen is packed with its self-test.
"""

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from edgeml.errors import ConfigError
from edgeml.manifest import OutputSpec, Quantisation
from edgeml_converters.analysing import Evidence, analyse
from edgeml_converters.baseline import make_baseline
from edgeml_converters.bundling import make_bundle, make_golden, pipeline_of, told_by_device
from edgeml_converters.datafiles import Data
from edgeml_converters.fitting import check_schemes, fit
from edgeml_converters.guess import guess_spec, name_of, plain_inputs
from edgeml_converters.judge import Judge, gives_logits
from edgeml_converters.material import gather_material
from edgeml_converters.metrics import choose_metric
from edgeml_converters.outcome import Candidate, Conversion, NoneFitsError
from edgeml_converters.provenance import provenance
from edgeml_converters.samples import Floats, check_windows
from edgeml_converters.schemes import AUTO, IO_TYPES, SCHEMES, Scheme, find_scheme
from edgeml_converters.search import Attempt, Tried, attempt_all, choose, doubt
from edgeml_converters.sources import FloatModel, finite, open_source
from edgeml_converters.spec import Spec
from edgeml_converters.targets import Estimate, Target, estimate, find_target
from edgeml_converters.targets.fitting import allowed_schemes, check_fits
from edgeml_converters.workshop import Workshop

DEFAULT_MAX_DROP: Final = 0.01
UNDATED: Final = "1970-01-01T00:00:00Z"
_LAST_SECOND: Final = 253_402_300_799
Progress = Callable[[int, str], object]
"""Called with (steps done, what comes next)."""


def convert(
    source: object,
    calibration: Data,
    *,
    spec: Spec | None = None,
    evaluation: Data | None = None,
    labels: npt.ArrayLike | None = None,
    scheme: str = "auto",
    io: str = "int8",
    max_drop: float | None = None,
    max_bytes: int | None = None,
    metric: str | None = None,
    target: str | None = None,
    created: str | None = None,
    trust_pickle: bool = False,
    progress: Progress | None = None,
) -> Conversion:
    """Quantise a trained model, measure what that costs, and pack the bundle.

    Equal arguments give equal bundles, byte for byte, in another process too.

    Args:
        source: a Keras model, a TensorFlow concrete function, a scikit-learn estimator,
            a PyTorch module, or the path of a `.keras`, `.h5`, `.tflite`, `.onnx`, `.pt2`,
            `.skops` or pickle file or of a SavedModel.
        calibration: raw windows in sensor units, from the training data: an array
            (n, *spec.inputs.shape), an iterable of windows or of batches of them, each alone
            or with labels, the path of what `edgeml.sensors.windowfile` reads, or
            (windows, labels).
        spec: what the model's file does not say; None takes numbered channels, no
            preprocessing, and the task that the model's answers look like.
        evaluation: as calibration, to judge on, held out from training; None judges on
            `calibration`.
        labels: of what is judged on, where the data do not hold them. Without labels
            a file is judged by its agreement with the float model.
        scheme: one of `SCHEMES`, or "auto": the cheapest of `AUTO` that keeps its score.
        io: "int8" for integer input and output where the scheme has them, or "float".
        max_drop: how much score may be lost; None is 0.01 for "auto" and "mixed", and
            no limit for another scheme that was named.
        max_bytes: how large the TFLite part may be; None is no limit.
        metric: accuracy, f1, auc, mse or agreement; None is what fits the task.
        target: one of `targets.TARGETS`: what it is made for. It limits the schemes that are
            tried, objects to operators that do not run there, and estimates the cost.
        created: ISO 8601, UTC; None takes SOURCE_DATE_EPOCH, else the source file's
            own time, else 1970.
        trust_pickle: whether a pickle may be loaded, which executes what is in it.
        progress: called before each step.

    Raises:
        ConfigError: an option that does not exist or does not fit.
        InputError: windows or labels that do not fit the spec.
        ConversionError: the model cannot be converted.
        NoneFitsError: no scheme keeps its score.
    """
    started_s = time.monotonic()
    machine = None if target is None else find_target(target)
    schemes = _schemes(scheme, machine)
    limit = _limit(scheme, io, max_drop)
    steps = _Steps(progress)
    opened, asked = _asked(source, spec, calibration, trust_pickle=trust_pickle)
    material = gather_material(calibration, evaluation, labels, asked, guessed=opened)
    spec, samples, judged = material.spec, material.samples, material.judged
    chosen_metric, other_metric = choose_metric(metric, spec.outputs, judged.labels)

    steps("open the model")
    opened = opened or open_source(source, trust_pickle=trust_pickle)
    when = _created(created, source)
    spec.manifest(when)
    pipeline = pipeline_of(spec)
    prepared = pipeline.batch(samples.windows)
    if opened.settled is not None:
        opened = opened.settled(prepared)
    model, spec = fit(opened, spec, pipeline.output_shape)
    check_schemes(model, schemes)
    inputs = pipeline.batch(judged.windows)
    reference = finite(model.predict(inputs), model.framework)
    options = {"scheme": scheme, "io": io, "max_drop": limit, "max_bytes": max_bytes}
    origin = provenance(
        source,
        model.framework,
        samples,
        judged,
        {**options, "metric": chosen_metric, "target": target},
        when,
    )
    with tempfile.TemporaryDirectory(prefix="edgeml-convert-") as name:
        steps("export")
        if model.lite is None:
            model.save(Path(name))
        clip = spec.outputs.task != "anomaly"
        start = model.lite or Path(name)
        kept_io = model.lite.io if model.lite is not None and model.only else io
        workshop = Workshop(start, kept_io, prepared, max_bytes=max_bytes, clip=clip)
        logits = _squashed(spec.outputs, reference) and gives_logits(
            spec.outputs, workshop.float_file()
        )
        judge = Judge(spec.outputs, chosen_metric, inputs, reference, judged.labels, logits=logits)
        steps("calibrate")
        if any(one.calibrated for one in schemes) and not model.only:
            workshop.try_calibrating()
        tried = attempt_all(
            workshop,
            schemes,
            inputs,
            judge,
            limit,
            steps,
            only=model.only,
            because=model.because,
        )
        choice = choose(tried, limit, chosen_metric, max_bytes)
        float_tflite = workshop.float_file()

    steps("compare and pack")
    best = choice.attempt
    misfits, estimates = _suit(machine, best, tried)
    golden = make_golden(best.tflite, best.scheme, spec, judged)
    evidence = Evidence(
        model, spec, judge, float_tflite, _float_outputs(tried), best, samples, prepared, judged
    )
    analysis, found = analyse(evidence, golden, origin)
    said = told_by_device(best.tflite, spec, when, judged.windows)
    bundle = make_bundle(
        best.tflite,
        spec,
        when,
        Quantisation(
            scheme=best.scheme.name,
            calibration_digest=samples.digest(),
            metric=chosen_metric,
            score_float=best.verdict.score_float,
            score_quantised=best.verdict.score,
        ),
        golden,
        make_baseline(judged.windows, said, judged.labels, spec.inputs, spec.outputs),
        target,
    )
    doubts = (other_metric, judge.chance(), doubt(best.verdict, limit, len(judged)))
    return Conversion(
        chosen=choice.chosen,
        verdict=best.verdict,
        candidates=choice.candidates,
        bundle=bundle,
        tflite=best.tflite,
        metric=chosen_metric,
        warnings=(
            *model.notes,
            *material.warnings,
            *misfits,
            *found,
            *(line for line in doubts if line),
        ),
        seconds=time.monotonic() - started_s,
        analysis=analysis,
        estimates=estimates,
    )


def _squashed(outputs: OutputSpec, reference: Floats) -> bool:
    """Whether a sigmoid behind the outputs would change what they say."""
    one = outputs.task == "classification" and reference[0].size == 1
    return one or outputs.task == "multilabel"


def _suit(
    machine: Target | None, best: Attempt, tried: Sequence[Tried]
) -> tuple[tuple[str, ...], Mapping[str, Estimate]]:
    """What to know of the chosen file on its target, and what each file costs there."""
    if machine is None:
        return (), {}
    files = {one.scheme.name: one.tflite for one in tried if isinstance(one, Attempt)}
    return check_fits(best.tflite, machine), estimate(machine, files)


def _float_outputs(tried: Sequence[Tried]) -> Floats | None:
    """What the float file answered, where it was one of those tried."""
    return next(
        (one.outputs for one in tried if isinstance(one, Attempt) and one.scheme.name == "float32"),
        None,
    )


def step_count(scheme: str, target: str | None = None) -> int:
    """How many steps `progress` will be called for."""
    return len(_schemes(scheme, None if target is None else find_target(target))) + 4


def _schemes(scheme: str, machine: Target | None) -> tuple[Scheme, ...]:
    names: tuple[str, ...] = AUTO if scheme == "auto" else (find_scheme(scheme).name,)
    if machine is not None:
        names = allowed_schemes(names, machine, asked=scheme != "auto")
    return tuple(SCHEMES[name] for name in names)


def _limit(scheme: str, io: str, max_drop: float | None) -> float | None:
    if io not in IO_TYPES:
        raise ConfigError(f"io {io!r} is none of {', '.join(IO_TYPES)}")
    if max_drop is None:
        return DEFAULT_MAX_DROP if scheme in ("auto", "mixed") else None
    if not max_drop >= 0:
        raise ConfigError(f"max_drop is {max_drop}; it should be 0 or more")
    return max_drop


def _asked(
    source: object, spec: Spec | None, calibration: Data, *, trust_pickle: bool
) -> tuple[FloatModel | None, Spec]:
    """The spec, and the model where it had to be opened to guess one."""
    if spec is not None:
        return None, spec
    model = open_source(source, trust_pickle=trust_pickle)
    array = isinstance(calibration, np.ndarray) and calibration.ndim > 1
    if not model.input_shape and model.settled is not None and array:
        # Nothing is preprocessed without a spec: what the model takes are the windows themselves.
        windows = np.asarray(calibration)
        inputs = plain_inputs(windows.shape[1:])
        model = model.settled(check_windows(windows, inputs, "calibration"))
    return model, guess_spec(model, name_of(source))


def _created(created: str | None, source: object) -> str:
    """When the model was made, without asking the clock: the same inputs give the same bytes."""
    if created is not None:
        return created
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if epoch is not None:
        if not epoch.isdecimal():
            raise ConfigError(f"SOURCE_DATE_EPOCH is {epoch!r}; it should be whole seconds")
        seconds = int(epoch)
        if seconds > _LAST_SECOND:
            raise ConfigError(f"SOURCE_DATE_EPOCH is {epoch}, which is beyond the year 9999")
    elif isinstance(source, (str, os.PathLike)):
        seconds = int(Path(source).stat().st_mtime)
    else:
        return UNDATED
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class _Steps:
    """Counts the steps for the caller's progress bar."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._done = 0

    def __call__(self, what: str) -> None:
        if self._progress is not None:
            self._progress(self._done, what)
        self._done += 1


__all__ = ["Candidate", "Conversion", "NoneFitsError", "convert"]
