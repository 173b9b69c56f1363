"""A .tflite that somebody made already is packed as it is, or quantised where that is proven."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeml.bundle import split
from edgeml.errors import ConversionError, MissingDependencyError
from edgeml_converters import Spec, convert
from edgeml_converters.measure import run_tflite
from edgeml_converters.sources import open_source


@pytest.fixture(scope="module")
def made(model: Any, data: Any, spec: Spec) -> dict[str, bytes]:
    """The TFLite part of each scheme, from the Keras model."""
    schemes = ("float32", "float16", "int8", "int16x8")
    return {name: convert(model, data[0], spec=spec, scheme=name).tflite for name in schemes}


@pytest.mark.parametrize("scheme", ["float32", "float16", "int8", "int16x8"])
def test_a_file_is_packed_byte_for_byte_under_the_scheme_that_its_tensors_show(
    scheme: str, made: dict[str, bytes], data: Any, spec: Spec, tmp_path: Path
) -> None:
    source = tmp_path / "model.tflite"
    source.write_bytes(made[scheme])
    conversion = convert(source, data[0], spec=spec, scheme=scheme, labels=data[1])
    assert conversion.tflite == made[scheme]
    assert conversion.verdict.rmse == 0
    assert split(conversion.bundle)[0] == made[scheme]


def test_auto_leaves_a_quantised_file_alone_and_says_why(
    made: dict[str, bytes], data: Any, spec: Spec, tmp_path: Path
) -> None:
    source = tmp_path / "model.tflite"
    source.write_bytes(made["int8"])
    conversion = convert(source, data[0], spec=spec)
    assert conversion.chosen.scheme == "int8"
    assert conversion.tflite == made["int8"]
    reasons = {one.scheme: one.reason for one in conversion.candidates if one.scheme != "int8"}
    assert all("is int8 already" in reason for reason in reasons.values())
    with pytest.raises(ConversionError, match="is int8 already"):
        convert(source, data[0], spec=spec, scheme="int16x8")


@pytest.mark.parametrize("scheme", ["int8", "int16x8", "float16", "dynamic"])
def test_a_float_file_is_quantised_as_its_source_would_be(
    scheme: str, made: dict[str, bytes], data: Any, spec: Spec, tmp_path: Path
) -> None:
    source = tmp_path / "model.tflite"
    source.write_bytes(made["float32"])
    conversion = convert(source, data[0], spec=spec, scheme=scheme)
    assert conversion.tflite != made["float32"]
    assert conversion.verdict.agreement > 0.97
    like = made.get(scheme, made["float32"])  # TensorFlow leaves so small kernels alone
    assert len(conversion.tflite) <= len(like) * 1.05


@pytest.mark.parametrize("scheme", ["float16", "dynamic"])
def test_without_its_quantizer_a_scheme_is_an_error_and_not_the_file_as_it_was(
    scheme: str,
    made: dict[str, bytes],
    data: Any,
    spec: Spec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = tmp_path / "model.tflite"
    source.write_bytes(made["float32"])
    monkeypatch.setitem(sys.modules, "ai_edge_quantizer", None)
    with pytest.raises(MissingDependencyError, match=r"edgeml-converters\[int4\]"):
        convert(source, data[0], spec=spec, scheme=scheme)
    others = convert(source, data[0], spec=spec).candidates
    assert next(one for one in others if one.scheme == scheme).bytes is None


def test_a_bundle_gives_its_model_and_says_that_its_manifest_is_left(
    model: Any, data: Any, spec: Spec, tmp_path: Path
) -> None:
    source = tmp_path / "bundle.tflite"
    first = convert(model, data[0], spec=spec, scheme="float32")
    first.write(source)
    again = convert(source, data[0], spec=spec, scheme="float32")
    assert again.tflite == first.tflite
    assert any("its manifest is not" in line for line in again.warnings)


def test_the_reference_is_the_file_in_the_interpreter(
    made: dict[str, bytes], tmp_path: Path
) -> None:
    source = tmp_path / "model.tflite"
    source.write_bytes(made["float32"])
    windows = np.random.default_rng(3).normal(size=(5, 20, 2)).astype(np.float32)
    opened = open_source(source)
    assert opened.input_shape == (20, 2)
    assert np.array_equal(opened.predict(windows), run_tflite(made["float32"], windows).outputs)


@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.7, 0.99])
def test_a_file_cut_short_is_one_line_of_error(
    share: float, made: dict[str, bytes], tmp_path: Path
) -> None:
    source = tmp_path / "model.tflite"
    source.write_bytes(made["int8"][: int(len(made["int8"]) * share)])
    with pytest.raises(ConversionError) as caught:
        open_source(source)
    assert str(source) in str(caught.value)
    assert "\n" not in str(caught.value)
