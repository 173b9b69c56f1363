"""One conversion end to end: what is in the bundle, and that it is the same every time."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeml import Bundle, Model
from edgeml.runtime.graph import read_graph
from edgeml_converters import Conversion, Spec, convert
from edgeml_converters.bundling import told_by_device
from edgeml_converters.schemes import AUTO

CREATED = "2026-01-02T03:04:05Z"


@pytest.fixture(scope="module")
def conversion(model: Any, data: Any, held_out: Any, spec: Spec) -> Conversion:
    return convert(model, data[0], spec=spec, evaluation=held_out, scheme="int8", created=CREATED)


def test_the_model_in_the_bundle_is_int8_from_input_to_output(conversion: Conversion) -> None:
    graph = read_graph(conversion.tflite)
    assert {tensor.dtype for tensor in (*graph.inputs, *graph.outputs)} == {"int8"}
    assert not [name for name in graph.operators if name.startswith("Flex")]
    assert len(conversion.tflite) < 8000


def test_quantising_keeps_the_accuracy_and_the_manifest_says_so(conversion: Conversion) -> None:
    manifest = Bundle.from_bytes(conversion.bundle).manifest
    quantisation = manifest.quantisation
    assert quantisation is not None
    assert quantisation.scheme == "int8"
    assert quantisation.metric == "accuracy"
    assert quantisation.score_float > 0.95
    assert quantisation.score_quantised == conversion.verdict.score
    assert conversion.verdict.drop <= 0.02
    assert conversion.verdict.drop_low <= conversion.verdict.drop <= conversion.verdict.drop_high


def test_the_manifest_carries_what_the_spec_said_and_what_the_file_needs(
    conversion: Conversion, spec: Spec
) -> None:
    manifest = Bundle.from_bytes(conversion.bundle).manifest
    assert (manifest.name, manifest.inputs, manifest.outputs) == (
        "waves",
        spec.inputs,
        spec.outputs,
    )
    assert manifest.created == CREATED
    assert manifest.requires is not None
    assert "FULLY_CONNECTED" in manifest.requires.ops
    assert manifest.requires.runtime[0].isdigit()


def test_a_device_gets_bit_for_bit_the_outputs_of_the_golden_test(
    conversion: Conversion, tmp_path: Path
) -> None:
    conversion.write(tmp_path / "waves.tflite")
    golden = Bundle.read(tmp_path / "waves.tflite").golden
    assert golden is not None
    assert golden.tolerance == 0
    assert len(golden.windows) == 8
    with Model.load(tmp_path / "waves.tflite") as model:
        for window, expected in zip(golden.windows, golden.outputs, strict=True):
            np.testing.assert_array_equal(model.run_raw(window).reshape(expected.shape), expected)


def test_golden_windows_show_every_class(conversion: Conversion, held_out: Any) -> None:
    golden = Bundle.from_bytes(conversion.bundle).golden
    assert golden is not None
    windows, labels = held_out
    classes = {
        int(label)
        for window in golden.windows
        for other, label in zip(windows, labels, strict=True)
        if np.array_equal(window, other)
    }
    assert classes == {0, 1, 2}


def test_the_device_is_as_accurate_as_the_conversion_measured(
    conversion: Conversion, held_out: Any, spec: Spec
) -> None:
    windows, labels = held_out
    with Model.load(conversion.bundle) as model:
        said = [result.label for result in model.predict_batch(windows)]
    hits = np.mean([spec.outputs.labels[i] == label for i, label in zip(labels, said, strict=True)])
    assert hits == pytest.approx(conversion.verdict.score)


def test_the_same_inputs_give_the_same_bytes_in_another_process(
    saved: Path, data: Any, held_out: Any, spec: Spec, spec_file: Path, tmp_path: Path
) -> None:
    """Through the command line there, through Python here."""
    here = convert(
        saved, data[0], spec=spec, evaluation=held_out, scheme="int8", created=CREATED
    ).bundle
    np.savez(tmp_path / "train.npz", windows=data[0])
    np.savez(tmp_path / "test.npz", x=held_out[0], y=held_out[1])
    command = [
        *(sys.executable, "-c", "import sys; from edgeml.cli.main import main; sys.exit(main())"),
        *("convert", str(saved), "--calibration", str(tmp_path / "train.npz")),
        *("--evaluation", str(tmp_path / "test.npz"), "--spec", str(spec_file)),
        *("--scheme", "int8", "--created", CREATED, "-o", str(tmp_path / "there.tflite"), "--json"),
    ]
    done = subprocess.run(command, check=True, timeout=900, capture_output=True, text=True)
    assert (tmp_path / "there.tflite").read_bytes() == here
    document = json.loads(done.stdout)
    assert document["chosen"] == "int8"
    assert document["bundle"] == str(tmp_path / "there.tflite")
    assert {
        "scheme",
        "bytes",
        "score",
        "score_float",
        "rmse",
        "agreement",
        "seconds",
        "reason",
    } <= set(document["candidates"][0])


CONVERT_ALL = """
import sys, hashlib
import numpy as np
from edgeml_converters import convert, read_spec
with np.load(sys.argv[3]) as arrays:
    x, y = arrays["x"], arrays["y"]
for scheme in ("float16", "int8", "int16x8", "mixed", "int4"):
    made = convert(sys.argv[1], x, labels=y, spec=read_spec(sys.argv[2]), scheme=scheme,
                   max_drop=1.0, created="2026-01-02T03:04:05Z")
    print(scheme, hashlib.sha256(made.bundle).hexdigest())
"""


def test_every_scheme_gives_the_same_bytes_whatever_seeds_the_hashes(
    saved: Path, data: Any, spec_file: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "train.npz", x=data[0][:40], y=data[1][:40])
    command = [sys.executable, "-c", CONVERT_ALL, str(saved), str(spec_file)]
    runs = [
        subprocess.Popen(
            [*command, str(tmp_path / "train.npz")],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        for seed in ("1", "4711")
    ]
    first, second = (run.communicate(timeout=900)[0] for run in runs)
    assert len(first.splitlines()) == 5
    assert first == second


def test_every_scheme_gives_a_file_that_is_what_it_is_called(
    model: Any, data: Any, held_out: Any, spec: Spec
) -> None:
    conversion = convert(
        model, data[0], spec=spec, evaluation=held_out, scheme="auto", max_drop=0.05
    )
    by_name = {candidate.scheme: candidate for candidate in conversion.candidates}
    assert set(by_name) == set(AUTO)
    made = [candidate for candidate in conversion.candidates if candidate.bytes is not None]
    smallest = min(candidate.bytes or 0 for candidate in made)
    assert conversion.chosen in made
    assert (conversion.chosen.bytes or 0) <= 1.1 * smallest
    assert conversion.chosen.scheme == "int8", "the cheapest to run, and about as small"
    assert (by_name["float32"].verdict or conversion.verdict).rmse < 1e-5


def test_float_input_and_output_are_kept_where_they_are_asked_for(
    model: Any, data: Any, held_out: Any, spec: Spec
) -> None:
    conversion = convert(model, data[0], spec=spec, evaluation=held_out, scheme="int8", io="float")
    graph = read_graph(conversion.tflite)
    assert {tensor.dtype for tensor in (*graph.inputs, *graph.outputs)} == {"float32"}


def test_without_labels_a_model_is_judged_by_its_agreement_with_the_float_one(
    model: Any, data: Any, spec: Spec
) -> None:
    conversion = convert(model, data[0], spec=spec, scheme="int8")
    assert conversion.metric == "agreement"
    assert conversion.verdict.score_float == 1.0
    assert conversion.verdict.score > 0.97


def test_the_baseline_is_of_the_numbers_that_results_hold_not_of_the_tensors(
    conversion: Conversion, held_out: Any, spec: Spec
) -> None:
    squashed = spec.outputs._replace(postprocess={"activation": "sigmoid"})
    other = dataclasses.replace(spec, outputs=squashed)
    said = told_by_device(conversion.tflite, other, CREATED, held_out[0])
    plain = told_by_device(conversion.tflite, spec, CREATED, held_out[0])
    np.testing.assert_allclose(said, 1 / (1 + np.exp(-plain)), atol=1e-6)


def test_the_baseline_counts_every_window_once(
    conversion: Conversion, held_out: Any, spec: Spec
) -> None:
    baseline = Bundle.from_bytes(conversion.bundle).baseline
    assert baseline is not None
    assert baseline["windows"] == len(held_out[0])
    assert [(h["name"], h["statistic"]) for h in baseline["inputs"]] == [
        ("left", "mean"),
        ("left", "std"),
        ("right", "mean"),
        ("right", "std"),
    ]
    assert [h["name"] for h in baseline["outputs"]] == list(spec.outputs.labels)
    for histogram in (*baseline["inputs"], *baseline["outputs"]):
        assert sum(histogram["counts"]) == len(held_out[0])
        assert len(histogram["counts"]) == len(histogram["edges"]) + 1
        assert histogram["edges"] == sorted(set(histogram["edges"]))
    with Model.load(conversion.bundle) as model:
        said = np.array([result.outputs for result in model.predict_batch(held_out[0])])
    for one, values in zip(baseline["outputs"], said.T, strict=True):
        bins = np.searchsorted(one["edges"], values, side="right")
        assert np.bincount(bins, minlength=len(one["counts"])).tolist() == one["counts"]
    confidence, accuracy = zip(*baseline["knots"], strict=True)
    assert list(confidence) == sorted(confidence)
    assert list(accuracy) == sorted(accuracy)
