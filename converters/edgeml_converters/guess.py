"""A spec for a model that came without one: what its own shapes and answers say, and no more.

What cannot be known stays neutral: channels are numbered, nothing is
preprocessed, a model whose answers are no distribution is a regression.
`edgeml convert --init` writes the guess down for a person to correct, and that
file means exactly what the guess means.
"""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from edgeml.errors import ConfigError, ConversionError
from edgeml.manifest import InputSpec, OutputSpec, channels
from edgeml_converters.samples import Floats, numbers
from edgeml_converters.sources import FloatModel
from edgeml_converters.spec import Spec

PROBES: Final = 16
SEED: Final = 20240601
_A_LINE: Final = 4
_COLOURS: Final = (1, 3, 4)
_NOT_A_NAME: Final = re.compile(r"[^A-Za-z0-9_-]+")


def guess_spec(model: FloatModel, name: str) -> Spec:
    """What a model says of itself.

    Args:
        model: opened.
        name: where it came from; what a name cannot hold becomes '_'.

    Raises:
        ConfigError: the model does not know the shape of its input.
    """
    shape = model.input_shape
    if not shape:
        raise ConfigError(
            f"a module of {model.framework} does not say what shape it takes: give convert() a "
            "spec, or all windows as one array"
        )
    named = _NOT_A_NAME.sub("_", name)[:64] or "model"
    return Spec(named, 1, plain_inputs(layouts(model)[0]), _outputs(model))


def name_of(source: object) -> str:
    """What to call a model that nobody named: a folder's name may have a version's points in it."""
    if not isinstance(source, (str, os.PathLike)):
        return type(source).__name__
    path = Path(source)
    return path.name if path.is_dir() else path.stem


def layouts(model: FloatModel) -> tuple[tuple[int, ...], ...]:
    """The shapes that a window may have, the likeliest first.

    A framework with channels in front takes windows that have them last as well, as
    cameras and sensors give them. That a picture does is certain where its first axis can be
    nothing but colours; which axis of a series is time cannot be seen.
    """
    shape = model.input_shape
    if model.settled is None or len(shape) < 2:
        return (shape,)
    turned = (*shape[1:], shape[0])
    picture = len(shape) == 3 and shape[0] in _COLOURS and shape[-1] not in _COLOURS
    return (turned, shape) if picture else (shape, turned)


def _outputs(model: FloatModel) -> OutputSpec:
    if model.task:
        return OutputSpec(model.task, model.labels, threshold=model.threshold)
    labels = model.labels or _numbered(_classes(model))
    return OutputSpec("classification", labels) if labels else OutputSpec("regression")


def _numbered(classes: int) -> tuple[str, ...]:
    return tuple(f"class{i}" for i in range(classes))


def plain_inputs(shape: tuple[int, ...], names: Sequence[str] = ()) -> InputSpec:
    """A window of which only the shape is known, and perhaps what its channels are called."""
    called = names or [f"c{i}" for i in range(shape[-1])]
    return InputSpec(channels(called), None, shape[0], shape[0], shape)


def with_labels(
    spec: Spec, model: FloatModel, labels: npt.NDArray[np.generic] | None
) -> tuple[Spec, str | None]:
    """The guess with what the labels of the data say: the names of classes, or that there are any.

    A network that ends before its softmax looks like a regression, and so does one that
    gives the chance of the second of two classes alone; labels that count its classes
    from 0, or name as many, say that it is none.

    Args:
        spec: from `guess_spec`.
        model: that it was guessed from.
        labels: of what is judged on; None where nobody knows them.

    Returns:
        The spec, and a warning where something was taken from the data.
    """
    outputs = spec.outputs
    if labels is None or labels.ndim != 1:
        return spec, None
    open_task = outputs.task == "regression" and not model.task
    classes = _classes_told(model, labels) if open_task else 0
    if classes:
        width = model.output_shape[0]
        outputs = OutputSpec("classification", _numbered(classes))
        gives = (
            f"{width} values and the labels are as many"
            if width > 1
            else ("one value and the labels are two")
        )
        warning = f"no spec: the model gives {gives} classes, so it is taken for a classifier"
    elif outputs.task != "classification" or labels.dtype.kind != "U":
        return spec, None
    else:
        warning = "no spec"
    if labels.dtype.kind == "U":
        names = tuple(sorted({str(label) for label in labels}))
        # What a model itself calls its classes is not for the alphabet to change.
        named = numbers(model.labels) is None or names == model.labels
        if named or len(names) != len(outputs.labels):
            return spec, None
        outputs = OutputSpec("classification", names)
        warning += (
            f": the labels {', '.join(names)} are taken in the order of the alphabet; was the "
            "model trained so?"
        )
    return replace(spec, outputs=outputs), warning


def _classes_told(model: FloatModel, labels: npt.NDArray[np.generic]) -> int:
    """How many classes a model's outputs and these labels, numbers or names, both speak of."""
    if len(model.output_shape) != 1 or not len(labels):
        return 0
    width = model.output_shape[0]
    count = max(width, 2)
    if labels.dtype.kind == "U":
        return count if len(set(labels.tolist())) == count else 0
    if labels.dtype.kind not in "iufb":
        return 0
    values = labels.astype(np.float64)
    told = bool((values == np.rint(values)).all() and 0 <= values.min() <= values.max() < count)
    # One number that is to be 0 or 1 may be anything; a chance is never out of these bounds.
    return count if told and (width > 1 or _is_chance(_probed(model))) else 0


def _is_chance(rows: Floats) -> bool:
    return len(rows) > 0 and bool((rows >= 0).all() and (rows <= 1).all() and rows.std() > 0)


def _probed(model: FloatModel) -> Floats:
    """What a model answers to noise, a row for each; none where it objects to noise."""
    probes = np.random.default_rng(SEED).normal(size=(PROBES, *model.input_shape))
    try:
        return model.predict(probes.astype(np.float32)).reshape(PROBES, -1)
    except ConversionError:
        return np.empty((0, 1), np.float32)


def _classes(model: FloatModel) -> int:
    """How many classes the answers are a distribution over; 0 where they are none."""
    if len(model.output_shape) != 1 or model.output_shape[0] < 2:
        return 0
    rows = _probed(model)
    sums_to_one = len(rows) > 0 and np.allclose(rows.sum(axis=1), 1.0, atol=1e-3)
    return int(rows.shape[1]) if sums_to_one and bool((rows >= -1e-6).all()) else 0


def spec_text(spec: Spec, model: FloatModel) -> str:
    """A commented spec.toml that reads as this guess.

    Args:
        spec: from `guess_spec`.
        model: that it was guessed from.
    """
    inputs, outputs = spec.inputs, spec.outputs
    series = len(inputs.shape) == 2
    axes = "samples, channels" if series else "axis 0 first, channels last"
    task = [f'task = "{outputs.task}"        # or multilabel, anomaly, detection, embedding, …']
    if outputs.labels:
        task.append(f"labels = {json.dumps(list(outputs.labels))}   # in the model's order")
    else:
        task.append(
            '# labels = ["normal", "worn"]     # for a classification, in the model\'s order'
        )
    known = f"threshold = {outputs.threshold!r}" if outputs.threshold is not None else ""
    task.append(f"{known or '# threshold = 0.5':<33} # of an anomaly's score, or of a label's")
    return f"""\
# What a model ({model.framework}) does not say of itself. `edgeml convert --spec` reads it;
# as it stands it works, with channels and labels that only have numbers.
name = "{spec.name}"                   # becomes part of MQTT topics
version = {spec.version}                         # a later release has a greater one
description = ""

[input]
shape = {list(inputs.shape)}             # of a raw window: {axes}
stride = {inputs.stride}                       # samples from one window to the next
{_other_layout(model)}# sample_rate_hz = 50.0             # where time matters
channels = [                        # what each is, and its unit
{_channel_lines([channel.name for channel in inputs.channels])}
]

# What training did to a raw window, in order; docs/preprocess.md has every step.
# [[preprocess]]
# step = "standardize"
# mean = [0.0]
# std = [1.0]

[output]
{chr(10).join(task)}

# [budgets]                         # what the self-test on the device holds the model to
# p95_ms = 20.0
# peak_rss_mb = 200.0
"""


def _other_layout(model: FloatModel) -> str:
    """Of a framework that has channels in front: the other shape that windows may have."""
    likeliest, *others = layouts(model)
    if not others:
        return ""
    other = list(others[0])
    if likeliest != model.input_shape:
        return (
            "# The model has its channels first, pictures of files and cameras have them last and\n"
            "# are turned. For windows as the model has them write\n"
            f"# shape = {other}, and {other[-1]} channels.\n"
        )
    return (
        "# Windows with channels last are taken as well, and a sensor's are such: write\n"
        f"# shape = {other}, and {other[-1]} channels.\n"
    )


def _channel_lines(names: Sequence[str]) -> str:
    cells = [f'{{ name = "{name}", unit = "" }},' for name in names]
    rows = [cells[i : i + _A_LINE] for i in range(0, len(cells), _A_LINE)]
    return "\n".join("    " + " ".join(row) for row in rows)
