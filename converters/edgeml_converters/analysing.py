"""Fills in the analysis of a conversion, once a file was chosen."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeml.bundle import Golden
from edgeml.runtime.graph import read_graph
from edgeml_converters.analysis import Analysis, Comparison, Confusion, Provenance
from edgeml_converters.bundling import pipeline_of
from edgeml_converters.faithfulness import check_float, compare, confusion
from edgeml_converters.judge import Judge
from edgeml_converters.layers import layer_errors, that_hurts
from edgeml_converters.measure import run_tflite
from edgeml_converters.preview import channel_ranges, show_window
from edgeml_converters.samples import Samples
from edgeml_converters.search import Attempt
from edgeml_converters.sources import FloatModel
from edgeml_converters.spec import Spec

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What a conversion has at hand when a file was chosen.

    Attributes:
        model: the source, opened.
        spec: what the model's file does not say.
        judge: knows the reference.
        float_tflite: the float file, with the names of its tensors.
        float_outputs: its answers on the evaluation windows, where they are known already.
        chosen: the file that was chosen.
        calibration: raw windows that ranges were measured on.
        prepared: the same, preprocessed.
        judged: raw windows, and labels.
    """

    model: FloatModel
    spec: Spec
    judge: Judge
    float_tflite: bytes
    float_outputs: Floats | None
    chosen: Attempt
    calibration: Samples
    prepared: Floats
    judged: Samples


def analyse(
    evidence: Evidence, golden: Golden, provenance: Provenance
) -> tuple[Analysis, tuple[str, ...]]:
    """Everything a report draws, and what to warn of.

    Raises:
        ConversionError: the float file computes something else than the model.
        BackendError: the interpreter refuses a file.
    """
    comparisons, warning = _compare(evidence, golden)
    layers = layer_errors(evidence.float_tflite, evidence.chosen.tflite, evidence.prepared)
    found = [] if warning is None else [warning]
    if not layers:
        found.append(
            f"{evidence.chosen.scheme.name} changed the order of the operators, so the error of "
            "each layer is not known"
        )
    float_confusion, chosen_confusion = _confusions(evidence)
    return (
        Analysis(
            comparisons=comparisons,
            confusion_float=float_confusion,
            confusion_chosen=chosen_confusion,
            layers=layers,
            hurts=that_hurts(layers),
            operators=_operators(evidence.chosen.tflite),
            channels=channel_ranges(evidence.spec, evidence.calibration),
            window=show_window(evidence.spec, evidence.judged),
            provenance=provenance,
        ),
        tuple(found),
    )


def _compare(evidence: Evidence, golden: Golden) -> tuple[tuple[Comparison, ...], str | None]:
    judge = evidence.judge
    float_outputs = evidence.float_outputs
    if float_outputs is None:
        float_outputs = run_tflite(evidence.float_tflite, judge.inputs).outputs
    golden_inputs = pipeline_of(evidence.spec).batch(golden.windows)
    golden_reference = evidence.model.predict(golden_inputs)
    scheme = evidence.chosen.scheme.name
    on_evaluation = compare(
        "float32", "evaluation", judge, judge.inputs, judge.reference, float_outputs
    )
    rows = [
        on_evaluation,
        *(
            compare(name, "golden", judge, golden_inputs, golden_reference, made)
            for name, made in (
                ("float32", run_tflite(evidence.float_tflite, golden_inputs).outputs),
                (scheme, run_tflite(evidence.chosen.tflite, golden_inputs).outputs),
            )
        ),
    ]
    chosen = evidence.chosen.outputs
    rows.insert(1, compare(scheme, "evaluation", judge, judge.inputs, judge.reference, chosen))
    return tuple(rows), check_float(on_evaluation, judge.reference, evidence.model.framework)


def _confusions(evidence: Evidence) -> tuple[Confusion | None, Confusion | None]:
    outputs, truth = evidence.spec.outputs, evidence.judged.labels
    if outputs.task != "classification" or truth is None:
        return None, None
    judge = evidence.judge
    return (
        confusion(outputs.labels, truth, judge.reference_answers),
        confusion(outputs.labels, truth, judge.answers(evidence.chosen.outputs)),
    )


def _operators(tflite: bytes) -> Mapping[str, int]:
    counts = Counter(read_graph(tflite).operators)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
