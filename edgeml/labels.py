"""Which labels a model's results may carry, and which of them hold for one result."""

from collections.abc import Collection

from edgeml.manifest import OutputSpec
from edgeml.result import Result
from edgeml.runtime.anomaly import ANOMALY, NORMAL
from edgeml.runtime.model import Model
from edgeml.runtime.postprocess import active_labels, least_score
from edgeml.runtime.smoothing import steadies_labels


def labels_of(model: Model) -> tuple[str, ...]:
    """The labels that a model's results may carry."""
    return labels_in(model.manifest.outputs)


def labels_in(outputs: OutputSpec) -> tuple[str, ...]:
    """Those of a model that need not be loaded."""
    return outputs.labels or ((NORMAL, ANOMALY) if outputs.task == "anomaly" else ())


def labels_that_hold(model: Model, result: Result) -> Collection[str | None]:
    """The labels that hold for a result of the model.

    Of a multi-label model each that reaches the threshold, of a detector each that an
    object has; the result's own alone where there is one, or where smoothing decided it.
    """
    spec = model.manifest.outputs
    if spec.task == "multilabel" and not steadies_labels(spec):
        return active_labels(result.outputs, spec.labels, least_score(spec))
    if spec.task == "detection" and not steadies_labels(spec):
        from edgeml.runtime.detection import detections  # most models load without it

        return {found.label for found in detections(result.outputs, spec.labels)}
    return (result.label,)
