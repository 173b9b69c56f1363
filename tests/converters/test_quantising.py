"""What makes an int8 file smaller and closer: ranges, granularity, and bytes nobody reads."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeml.errors import ConversionError
from edgeml.runtime.graph import read_graph
from edgeml_converters import Spec, convert
from edgeml_converters.bundling import pipeline_of
from edgeml_converters.granularity import fit_to_size
from edgeml_converters.inspection import read_weights, unpack_model
from edgeml_converters.lite import calibrate, convert_saved_model, quantise, quantise_int16
from edgeml_converters.measure import run_tflite
from edgeml_converters.ranges import best_range, clipped, count
from edgeml_converters.schemes import BY_TENSORFLOW, SCHEMES, check_applied
from edgeml_converters.slim import WEIGHTS_ALIGNMENT, slim
from edgeml_converters.sources import open_source


@pytest.fixture(scope="module")
def folder(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("saved")
    open_source(model).save(place)
    return place


@pytest.fixture(scope="module")
def prepared(data: Any, spec: Spec) -> Any:
    return pipeline_of(spec).batch(data[0])


@pytest.fixture(scope="module")
def wide(folder: Path, prepared: Any) -> bytes:
    return calibrate(convert_saved_model(folder, SCHEMES["float32"], "float", prepared), prepared)


def _error_in(values: Any, low: float, high: float) -> float:
    step = (high - low) / 255
    held = np.clip(np.rint(values / step), np.rint(low / step), np.rint(high / step)) * step
    return float(np.mean((values - held) ** 2))


def test_one_value_far_out_does_not_coarsen_all_the_others() -> None:
    values = np.random.default_rng(1).normal(size=400_000)
    values[7] = 30.0
    low, high = best_range(values.min(), 30.0, count(values, values.min(), 30.0))
    assert high < 24
    assert _error_in(values, low, high) < 0.8 * _error_in(values, values.min(), 30.0)


def test_a_tensor_that_never_varies_still_has_a_range_with_zero_in_it() -> None:
    assert best_range(0.0, 0.0, count(np.zeros(10), 0.0, 0.0)) == (0.0, 0.0)
    low, high = best_range(0.0, 3.0, count(np.full(10, 3.0), 0.0, 3.0))
    assert low == 0.0
    assert high == pytest.approx(3.0, abs=0.02)


def test_data_that_lie_class_by_class_give_the_ranges_of_all_classes(
    keras: Any,
) -> None:
    """Folders of pictures are read so, and the first hundred windows are of one class."""
    layers = keras.layers
    keras.utils.set_random_seed(1)
    network = keras.Sequential([keras.Input((4,)), layers.Dense(8, "relu"), layers.Dense(2)])
    windows = np.random.default_rng(1).normal(size=(300, 4)).astype(np.float32)
    windows *= np.repeat([0.01, 1, 100], 100)[:, np.newaxis].astype(np.float32)
    sharp, mixed_up = (
        convert(network, windows[order], scheme="int8").verdict.rmse
        for order in (np.arange(300), np.random.default_rng(1).permutation(300))
    )
    assert sharp < 1.2 * mixed_up


def test_narrower_ranges_leave_the_input_s_and_the_output_s_alone(
    wide: bytes, prepared: Any
) -> None:
    before, after = (
        unpack_model(wide).subgraphs[0],
        unpack_model(clipped(wide, prepared)).subgraphs[0],
    )
    ends = {int(i) for i in (*before.inputs, *before.outputs)}
    narrowed = 0
    for i, (old, new) in enumerate(zip(before.tensors, after.tensors, strict=True)):
        if old.quantization is None or old.quantization.max is None:
            continue
        assert new.quantization.max[0] <= old.quantization.max[0] + 1e-6
        if i in ends:
            assert new.quantization.max[0] == old.quantization.max[0]
        narrowed += new.quantization.max[0] < old.quantization.max[0]
    assert narrowed


def test_slimming_changes_no_output_and_keeps_what_tools_read(
    wide: bytes, prepared: Any, folder: Path
) -> None:
    for fat in (
        quantise(wide, "int8"),
        convert_saved_model(folder, SCHEMES["float32"], "float", prepared),
    ):
        thin = slim(fat)
        assert len(thin) < len(fat)
        np.testing.assert_array_equal(run_tflite(thin, prepared).raw, run_tflite(fat, prepared).raw)
        assert read_graph(thin).inputs == read_graph(fat).inputs
        assert read_graph(thin).outputs == read_graph(fat).outputs
        assert slim(thin) == thin
        assert [d.signatureKey for d in unpack_model(thin).signatureDefs] == [b"serve"]


def test_weights_stay_aligned_as_the_schema_asks(wide: bytes) -> None:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(slim(quantise(wide, "int8")), 0)
    offsets = []
    for i in range(model.BuffersLength()):
        buffer = model.Buffers(i)
        if not buffer.DataIsNone():
            table = buffer._tab
            offsets.append(table.Vector(table.Offset(4)) % WEIGHTS_ALIGNMENT)
    assert offsets
    assert set(offsets) == {0}


def test_a_size_between_two_granularities_is_met_with_the_smaller_error(
    wide: bytes, prepared: Any
) -> None:
    reference = run_tflite(wide, prepared).outputs

    def error(tflite: bytes) -> float:
        return float(np.mean((run_tflite(tflite, prepared).outputs - reference) ** 2))

    coarse, fine = quantise(wide, "int8", dense_per_channel=False), quantise(wide, "int8")
    tight = fit_to_size(coarse, fine, len(slim(coarse)), error)
    roomy = fit_to_size(coarse, fine, len(slim(fine)) + 100, error)
    assert len(tight) <= len(slim(coarse))
    assert error(roomy) <= error(tight)
    assert error(roomy) <= error(coarse)


def test_a_model_that_cannot_be_small_enough_is_refused(model: Any, data: Any, spec: Spec) -> None:
    with pytest.raises(ConversionError, match="more than 1000; make the model smaller"):
        convert(model, data[0], spec=spec, scheme="int8", max_bytes=1000)


def test_a_scheme_that_changed_nothing_is_an_error_and_not_a_result(
    folder: Path, prepared: Any
) -> None:
    untouched = convert_saved_model(folder, SCHEMES["float32"], "float", prepared)
    for name in ("float16", "dynamic"):
        with pytest.raises(ConversionError, match="left the weights as they were"):
            check_applied(untouched, SCHEMES[name], "float")
    for name in ("int8", "int16x8"):
        with pytest.raises(ConversionError, match="fell back silently"):
            check_applied(untouched, SCHEMES[name], "int8")


def test_dynamic_quantisation_of_a_model_that_is_too_small_for_it_is_not_called_a_result(
    folder: Path, prepared: Any
) -> None:
    """TensorFlow leaves kernels below 1024 numbers as they are, and says nothing."""
    tflite = convert_saved_model(folder, SCHEMES["dynamic"], "float", prepared)
    with pytest.raises(ConversionError, match="left the weights as they were"):
        check_applied(tflite, SCHEMES["dynamic"], "float")


@pytest.mark.parametrize("io", ["float", "int8"])
def test_int16_from_a_calibrated_model_is_byte_for_byte_the_converter_s_own(
    io: str, folder: Path, prepared: Any, wide: bytes
) -> None:
    theirs = convert_saved_model(folder, SCHEMES["int16x8"], io, prepared)
    assert slim(quantise_int16(wide, io, prepared)) == slim(theirs)


@pytest.mark.parametrize("io", ["float", "int8"])
def test_int8_from_a_calibrated_float_model_answers_bit_for_bit_as_the_converter_s_own(
    io: str, folder: Path, prepared: Any, wide: bytes
) -> None:
    theirs = convert_saved_model(folder, SCHEMES["int8"], io, prepared)
    ours = quantise(wide, io)
    assert read_graph(ours).operators == read_graph(theirs).operators
    np.testing.assert_array_equal(run_tflite(ours, prepared).raw, run_tflite(theirs, prepared).raw)


def test_a_scheme_for_weights_is_refused_for_a_model_without_any(keras: Any) -> None:
    network = keras.Sequential([keras.Input((10,)), keras.layers.Activation("relu")])
    windows = np.random.default_rng(2).normal(size=(100, 10)).astype(np.float32)
    for scheme in ("float16", "dynamic", "int4"):
        with pytest.raises(ConversionError, match="no weights that it could make smaller"):
            convert(network, windows, scheme=scheme)


def test_a_model_that_answers_nan_is_refused_before_any_scheme(keras: Any) -> None:
    windows = np.random.default_rng(2).normal(size=(100, 10)).astype(np.float32)
    network = keras.Sequential([keras.Input((10,)), keras.layers.Dense(4)])
    kernel = np.full((10, 4), np.nan, np.float32)
    network.layers[0].set_weights([kernel, np.zeros(4, np.float32)])
    with pytest.raises(ConversionError, match=r"NaN or infinity to 100 of 100 .*did training"):
        convert(network, windows, scheme="float32")


def test_a_file_that_answers_nan_is_an_error_and_not_a_result(
    model: Any, data: Any, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As tflite-runtime 2.14 answers to int4 weights."""

    def lost(tflite: bytes, inputs: Any) -> Any:
        run = run_tflite(tflite, inputs)
        outputs = run.outputs.copy()
        outputs[7] = np.nan
        return replace(run, outputs=outputs)

    monkeypatch.setattr("edgeml_converters.search.run_tflite", lost)
    with pytest.raises(ConversionError, match="int8: the file answers NaN or infinity to 1 of 240"):
        convert(model, data[0], spec=spec, scheme="int8")


def test_a_loop_is_refused_where_it_would_end_the_process(keras: Any, tmp_path: Path) -> None:
    """And the schemes that need no calibration still convert it."""
    windows = np.random.default_rng(2).normal(size=(100, 8, 3)).astype(np.float32)
    for unroll, wanted in ((False, {"float32", "float16"}), (True, {"float32", "int8"})):
        network = keras.Sequential(
            [keras.Input((8, 3)), keras.layers.LSTM(12, unroll=unroll), keras.layers.Dense(2)]
        )
        conversion = convert(network, windows, max_drop=0.5)
        made = {one.scheme for one in conversion.candidates if one.bytes is not None}
        assert wanted <= made
        int8 = next(one for one in conversion.candidates if one.scheme == "int8")
        assert ("unroll=True" in int8.reason) == (not unroll)


@pytest.mark.parametrize("name", [name for name in BY_TENSORFLOW if name != "dynamic"])
def test_most_of_the_weights_have_the_type_of_their_scheme(
    name: str, folder: Path, prepared: Any
) -> None:
    tflite = convert_saved_model(folder, SCHEMES[name], "float", prepared)
    check_applied(tflite, SCHEMES[name], "float")
    weights = read_weights(tflite)
    assert max(weights.elements, key=lambda kind: weights.elements[kind]) == SCHEMES[name].weights
