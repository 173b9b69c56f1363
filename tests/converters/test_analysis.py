"""What a report is drawn from: it says of the conversion what really was."""

import json
from typing import Any

import numpy as np
import pytest

from edgeml import Bundle
from edgeml.errors import ConversionError
from edgeml_converters import Conversion, Spec, convert
from edgeml_converters.bundling import pipeline_of
from edgeml_converters.faithfulness import check_float, compare
from edgeml_converters.judge import Judge
from edgeml_converters.layers import MAX_WINDOWS, layer_errors
from edgeml_converters.samples import spread
from edgeml_converters.schemes import AUTO


@pytest.fixture(scope="module")
def conversion(model: Any, data: Any, held_out: Any, spec: Spec) -> Conversion:
    return convert(model, data[0], spec=spec, evaluation=held_out, scheme="int8")


def test_three_models_are_held_together_on_evaluation_and_golden_windows(
    conversion: Conversion, held_out: Any
) -> None:
    rows = {(row.scheme, row.data): row for row in conversion.analysis.comparisons}
    assert set(rows) == {
        (scheme, data) for scheme in ("float32", "int8") for data in ("evaluation", "golden")
    }
    assert rows["float32", "evaluation"].windows == len(held_out[0])
    golden = Bundle.from_bytes(conversion.bundle).golden
    assert golden is not None
    assert rows["int8", "golden"].windows == len(golden.windows)
    for data in ("evaluation", "golden"):
        assert rows["float32", data].largest < 1e-5
        assert rows["float32", data].rmse < rows["int8", data].rmse
    assert rows["int8", "evaluation"].rmse == pytest.approx(conversion.verdict.rmse)


def test_the_confusion_matrices_count_every_window_once_and_hold_the_scores(
    conversion: Conversion, held_out: Any, spec: Spec
) -> None:
    verdict = conversion.verdict
    for matrix, score in (
        (conversion.analysis.confusion_float, verdict.score_float),
        (conversion.analysis.confusion_chosen, verdict.score),
    ):
        assert matrix is not None
        assert matrix.labels == spec.outputs.labels
        counts = np.array(matrix.counts)
        np.testing.assert_array_equal(counts.sum(1), np.bincount(held_out[1], minlength=3))
        assert np.trace(counts) / counts.sum() == pytest.approx(score)


def test_the_error_of_each_layer_is_that_of_its_real_output(
    conversion: Conversion, data: Any, spec: Spec, model: Any
) -> None:
    layers = conversion.analysis.layers
    assert layers[0].name == "input"
    assert [layer.operator for layer in layers].count("CONV_2D") == 2
    assert {layer.dtype for layer in layers} == {"int8"}
    windows = spread(pipeline_of(spec).batch(data[0]), MAX_WINDOWS)
    low, high = layers[0].held or (0, 0)
    step = (high - low) / 255
    held = np.clip(np.rint((windows - low) / step) * step + low, low, high)
    power, noise = (np.sum(x**2.0, axis=(0, 1)) for x in (windows, windows - held))
    expected = float(np.mean(10 * np.log10(power / noise)))
    assert layers[0].sqnr_db == pytest.approx(expected, abs=0.5)
    assert layers[0].seen == pytest.approx((windows.min(), windows.max()))
    for layer in layers:
        assert 15 < layer.sqnr_db < 70
        assert layer.fall_db >= 0


@pytest.mark.parametrize("scheme", [name for name in (*AUTO, "int4") if name != "dynamic"])
def test_every_scheme_s_layers_are_matched_with_the_float_ones(
    scheme: str, model: Any, data: Any, spec: Spec
) -> None:
    conversion = convert(model, data[0], spec=spec, scheme=scheme, max_drop=1.0)
    layers = conversion.analysis.layers
    assert len(layers) > 4
    ratios = [layer.sqnr_db for layer in layers]
    limits = {"float32": np.inf, "float16": 50, "int16x8": 25, "int8": 15, "mixed": 15, "int4": 5}
    assert min(ratios) >= limits[scheme]


def test_files_of_different_models_are_not_matched(keras: Any, conversion: Conversion) -> None:
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    spec = conversion_spec(4)
    theirs = convert(other, np.eye(4, dtype=np.float32), spec=spec, scheme="float32")
    assert layer_errors(theirs.tflite, conversion.tflite, np.zeros((1, 4), np.float32)) == ()


def conversion_spec(n: int) -> Spec:
    from edgeml.manifest import InputSpec, OutputSpec, channels

    names = channels([f"c{i}" for i in range(n)])
    return Spec("other", 1, InputSpec(names, None, n, 1, (n,)), OutputSpec("regression"))


def test_one_real_window_is_shown_raw_and_after_each_step(
    conversion: Conversion, held_out: Any, spec: Spec
) -> None:
    window = conversion.analysis.window
    assert [stage.step for stage in window.stages] == ["raw", "standardize"]
    raw = held_out[0][window.index]
    np.testing.assert_array_equal(window.stages[0].values, raw)
    np.testing.assert_array_equal(window.stages[-1].values, pipeline_of(spec)(raw))
    assert window.label == spec.outputs.labels[held_out[1][window.index]]


def test_the_channels_and_the_operators_are_what_data_and_file_hold(
    conversion: Conversion, data: Any, spec: Spec
) -> None:
    for channel, named, values in zip(
        conversion.analysis.channels, spec.inputs.channels, data[0].reshape(-1, 2).T, strict=True
    ):
        assert (channel.name, channel.unit) == named
        assert (channel.low, channel.high) == (values.min(), values.max())
        assert channel.low < channel.p01 < channel.median < channel.p99 < channel.high
    assert conversion.analysis.operators["CONV_2D"] == 2
    requires = Bundle.from_bytes(conversion.bundle).manifest.requires
    assert requires is not None
    assert sorted(conversion.analysis.operators) == sorted(requires.ops)


def test_the_provenance_names_what_went_in(
    saved: Any, data: Any, held_out: Any, spec: Spec
) -> None:
    import hashlib

    conversion = convert(saved, data[0], spec=spec, evaluation=held_out, scheme="float32")
    origin = conversion.analysis.provenance
    assert origin.source == saved.name
    assert origin.source_digest == hashlib.sha256(saved.read_bytes()).hexdigest()
    manifest = Bundle.from_bytes(conversion.bundle).manifest
    assert manifest.quantisation is not None
    assert origin.calibration_digest == manifest.quantisation.calibration_digest
    assert origin.created == manifest.created
    assert origin.labelled
    assert {"edgeml", "edgeml-converters", "tensorflow", "ai-edge-litert"} <= set(origin.versions)
    assert origin.options["scheme"] == "float32"


def test_the_whole_analysis_is_json_without_numbers_that_json_has_not(
    model: Any, data: Any, spec: Spec
) -> None:
    conversion = convert(model, data[0], spec=spec, scheme="float32")
    whole = conversion.analysis.as_json()
    assert json.loads(json.dumps(whole, allow_nan=False)) == whole
    assert whole["layers"][0]["sqnr_db"] is None
    assert np.shape(whole["window"]["stages"][0]["values"]) == spec.inputs.shape
    assert "window" not in conversion.as_json()["analysis"]


def test_a_float_file_that_computes_something_else_is_refused(spec: Spec) -> None:
    reference = np.random.default_rng(1).dirichlet(np.ones(3), 50).astype(np.float32)
    inputs = np.zeros((50, 20, 2), np.float32)
    judge = Judge(spec.outputs, "agreement", inputs, reference, None)

    def said(made: Any) -> str | None:
        comparison = compare("float32", "evaluation", judge, inputs, reference, made)
        return check_float(comparison, reference, "keras")

    assert said(reference) is None
    warning = said(reference + np.float32(0.003))
    assert warning is not None
    assert "before any quantisation" in warning
    with pytest.raises(ConversionError, match="does not compute what keras computes"):
        said(reference[::-1])
