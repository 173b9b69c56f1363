"""Whether a model and a spec speak of the same thing, and what each lacks that the other knows."""

import math
from collections.abc import Sequence
from dataclasses import replace

from edgeml.errors import ConversionError
from edgeml.manifest import OutputSpec
from edgeml_converters.schemes import Scheme
from edgeml_converters.sources import FloatModel
from edgeml_converters.spec import Spec


def fit(model: FloatModel, spec: Spec, prepared: tuple[int, ...]) -> tuple[FloatModel, Spec]:
    """The model in the shape of the windows, and the spec with what the model itself knows.

    Args:
        model: opened.
        spec: a person's.
        prepared: what the spec's preprocessing makes of a window.

    Raises:
        ConversionError: shapes, or labels and their order, that do not fit.
    """
    if model.shaped is not None:
        model = model.shaped(prepared)
    _check_fit(model, prepared, spec)
    outputs = spec.outputs
    options = dict(outputs.postprocess or {})
    if model.activation is not None and outputs.task in ("classification", "multilabel"):
        options.setdefault("activation", model.activation)
    return model, replace(spec, outputs=outputs._replace(postprocess=options or None))


def check_schemes(model: FloatModel, schemes: Sequence[Scheme]) -> None:
    """Object where none of these schemes is for this model.

    Raises:
        ConversionError: why, and which is.
    """
    names = [scheme.name for scheme in schemes]
    if model.only and model.only not in names:
        raise ConversionError(
            f"{', '.join(names)}: {model.because}; convert with --scheme {model.only}"
        )


def _check_fit(model: FloatModel, prepared: tuple[int, ...], spec: Spec) -> None:
    if prepared != model.input_shape:
        raise ConversionError(
            f"the spec's preprocessing turns a window of {list(spec.inputs.shape)} into "
            f"{list(prepared)}, but the model takes {list(model.input_shape)}"
        )
    outputs = model.output_shape
    if model.task == "multilabel" and spec.outputs.task == "classification":
        raise ConversionError(
            "the model says of each label by itself whether it holds, so several may: the spec's "
            'task should be "multilabel"'
        )
    if spec.outputs.task not in ("classification", "multilabel"):
        return
    labels = spec.outputs.labels
    pair = spec.outputs.task == "classification" and len(labels) == 2 and math.prod(outputs) == 1
    if outputs[-1:] != (len(labels),) and not pair:
        raise ConversionError(
            f"the spec names {len(labels)} labels ({', '.join(labels)}), but the model's output is "
            f"{list(outputs)}"
        )
    _check_order(model, spec.outputs)


def _check_order(model: FloatModel, outputs: OutputSpec) -> None:
    """The same names in another order would be answers that are wrong and look right."""
    if model.labels != outputs.labels and set(model.labels) == set(outputs.labels):
        raise ConversionError(
            f"the spec's labels are the model's classes in another order: the model says "
            f"{', '.join(model.labels)}, the spec {', '.join(outputs.labels)}"
        )
