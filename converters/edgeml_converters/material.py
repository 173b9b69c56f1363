"""The data of one conversion: read, checked, and what is poor about them put into words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import tee
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeml.errors import InputError
from edgeml_converters.datafiles import Data, column_names, gather, left_out
from edgeml_converters.guess import layouts, plain_inputs, with_labels
from edgeml_converters.samples import (
    Floats,
    Samples,
    check_labels,
    check_windows,
    warnings_about,
)
from edgeml_converters.sources import FloatModel
from edgeml_converters.spec import Spec


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What a conversion works on.

    Attributes:
        spec: as given, or guessed.
        samples: what ranges are measured on.
        judged: what is judged on, with labels where they are known.
        warnings: what is poor about them.
    """

    spec: Spec
    samples: Samples
    judged: Samples
    warnings: tuple[str, ...]


def gather_material(
    calibration: Data,
    evaluation: Data | None,
    labels: npt.ArrayLike | None,
    spec: Spec,
    *,
    guessed: FloatModel | None = None,
) -> Material:
    """Read and check the data.

    Args:
        calibration: raw windows to measure ranges on, or (windows, labels).
        evaluation: the same, to judge on; None is `calibration`.
        labels: of what is judged on, where the data do not hold them.
        spec: what one window looks like.
        guessed: the model that the spec was guessed from, so that the labels of the data say
            what it does; None where somebody wrote it.

    Raises:
        InputError: they cannot be read, or do not fit the spec.
    """
    shapes = (spec.inputs.shape,) if guessed is None else layouts(guessed)
    if guessed is not None:
        names = column_names(calibration, spec.inputs.shape[-1])
        spec = replace(spec, inputs=plain_inputs(spec.inputs.shape, names))
    spec, windows, said = _calibration(calibration, spec, shapes)
    warnings = list(warnings_about(windows, spec.inputs, "calibration"))
    cut = [left_out(calibration, len(windows), "calibration")]
    if evaluation is None:
        what, judged = "calibration", windows
    else:
        what = "evaluation"
        found = gather(evaluation, spec.inputs, what)
        judged, said = check_windows(found.windows, spec.inputs, what), found.labels
        cut.append(left_out(evaluation, len(judged), what))
    warnings += [line for line in cut if line]
    truth = said if labels is None else np.asarray(labels)
    if guessed is not None:
        spec, warning = with_labels(spec, guessed, truth)
        warnings += [] if warning is None else [warning]
    checked = None if truth is None else check_labels(truth, spec.outputs, len(judged), what)
    return Material(spec, Samples(windows), Samples(judged, checked), tuple(warnings))


def _calibration(
    data: Data, spec: Spec, shapes: Sequence[tuple[int, ...]]
) -> tuple[Spec, Floats, npt.NDArray[Any] | None]:
    """The spec with the first of some shapes that the windows have; the windows; their labels."""
    refusals: list[InputError] = []
    for shape in shapes:
        ours, data = tee(data) if isinstance(data, Iterator) else (data, data)
        laid = spec if shape == spec.inputs.shape else replace(spec, inputs=plain_inputs(shape))
        try:
            found = gather(ours, laid.inputs, "calibration")
            return laid, check_windows(found.windows, laid.inputs, "calibration"), found.labels
        except InputError as exc:
            refusals.append(exc)
    raise refusals[0]
