"""A model as its user meets it: raw windows in, results out, whatever the file's kind."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeml.bundle import Bundle, Golden, pack
from edgeml.errors import BackendError, BundleError, InputError, ManifestError, PreprocessError
from edgeml.manifest import InputSpec, Manifest, OutputSpec, PreprocessStep, Requires, channels
from edgeml.preprocess import Pipeline
from edgeml.runtime.backend import installed, open_backend
from edgeml.runtime.model import Model
from edgeml.runtime.tensors import quantise

from .gait import FIXTURES, LABELS, STEPS, fixture, manifest, windows


@pytest.fixture(params=installed())
def backend(request: pytest.FixtureRequest) -> str:
    """Each interpreter that is installed here."""
    return str(request.param)


def test_a_bundle_takes_raw_windows_and_names_labels(backend: str, tmp_path: Path) -> None:
    data = pack(fixture("classifier_int8"), manifest())
    path = tmp_path / "gait.tflite"
    path.write_bytes(data)
    with Model.load(path, backend=backend) as model:
        result = model.predict(windows(1)[0], start_s=100.0, end_s=100.38)
    assert result.model.name == "gait"
    assert result.model.version == 7
    assert result.model.digest == Bundle.from_bytes(data).sha256
    assert (result.start_s, result.end_s) == (100.0, 100.38)
    assert result.label in LABELS
    assert result.score == max(result.outputs)
    assert result.label == LABELS[result.outputs.index(result.score)]
    assert min(result.pre_us, result.invoke_us, result.post_us) > 0


def test_the_model_sees_what_the_pipeline_makes_quantised(backend: str) -> None:
    pipeline = Pipeline.from_steps(STEPS, (20, 3), 50.0)
    bare = open_backend(fixture("classifier_int8"), backend)
    with Model.load(pack(fixture("classifier_int8"), manifest()), backend=backend) as model:
        for window in windows(4):
            x = quantise(pipeline(window), bare.input).reshape(bare.input.shape)
            assert np.array_equal(model.run_raw(window), bare.run(x)[0][0])
            assert np.array_equal(model.preprocess(window)[0], pipeline(window))


def test_a_path_its_bytes_and_a_bundle_read_before_are_the_same_model(tmp_path: Path) -> None:
    data = pack(fixture("classifier_int8"), manifest())
    path = tmp_path / "gait.tflite"
    path.write_bytes(data)
    window = windows(1)[0]
    results = []
    for source in (path, str(path), data, Bundle.from_bytes(data)):
        with Model.load(source) as model:
            results.append(model.predict(window)[:6])
    assert all(result == results[0] for result in results)


@pytest.mark.parametrize(
    ("name", "task", "shape"),
    [
        ("identity_float", "embedding", (20, 3)),
        ("classifier_float", "classification", (20, 3)),
        ("classifier_int8", "classification", (20, 3)),
        ("classifier_uint8", "classification", (20, 3)),
        ("classifier_float_io", "classification", (20, 3)),
        ("logits_float", "embedding", (20, 3)),
        ("two_outputs_float", "embedding", (20, 3)),
        ("autoencoder_int8", "embedding", (20, 3)),
        ("detector_float", "embedding", (20, 3)),
        ("variable_float", "embedding", (3,)),
        ("counter_float", "embedding", (20, 3)),
    ],
)
def test_a_plain_tflite_runs_without_a_manifest(
    backend: str, name: str, task: str, shape: tuple[int, ...]
) -> None:
    with Model.load(FIXTURES / f"{name}.tflite", backend=backend) as model:
        assert model.manifest.name == name
        assert model.manifest.task == task
        assert model.manifest.inputs.shape == shape
        assert not model.info.bundle
        result = model.predict(np.ones(shape, np.float32))
        assert len(result.outputs) == sum(tensor.size for tensor in model.output_specs)
        assert np.isfinite(result.outputs).all()


def test_a_plain_int8_file_takes_real_numbers(backend: str) -> None:
    """Integer inputs are quantised and outputs dequantised, as the float model would have it."""
    with (
        Model.load(fixture("classifier_int8"), backend=backend) as small,
        Model.load(fixture("classifier_float"), backend=backend) as exact,
    ):
        for window in windows(6):
            a, b = small.predict(window).outputs, exact.predict(window).outputs
            assert np.abs(np.subtract(a, b)).max() < 0.06


@pytest.mark.parametrize("model", ["classifier_int8", "classifier_float"])
@pytest.mark.parametrize("where", [0, 31, 59])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_never_reach_the_model(model: str, where: int, bad: float) -> None:
    window = windows(1)[0]
    window.flat[where] = bad
    with Model.load(pack(fixture(model), manifest())) as loaded:
        with pytest.raises(
            InputError, match=rf"1 NaN or infinite values, the first at .*{where % 3}\]"
        ):
            loaded.predict(window)
        with pytest.raises(InputError, match="1 NaN or infinite"):
            loaded.predict_batch(np.stack([windows(1)[0], window]))
        with pytest.raises(InputError, match="1 NaN or infinite"):
            loaded.run_raw(window)


def test_a_window_so_large_that_its_square_overflows_is_still_finite() -> None:
    with Model.load(fixture("classifier_float")) as model:
        window = np.full((20, 3), 3e19, np.float32)
        with np.errstate(over="ignore"):  # numpy says that the square overflowed
            assert model.predict(window).label is not None


@pytest.mark.parametrize(
    ("window", "message"),
    [
        (np.zeros((20, 4)), r"shape \[20, 4\]; gait takes \[20, 3\], .* x in m/s\^2"),
        (np.zeros((1, 20, 3)), r"shape \[1, 20, 3\]"),
        (np.zeros(60), r"shape \[60\]"),
        (np.zeros((0, 3)), r"shape \[0, 3\]"),
        (3.0, r"shape \[\]"),
        ("walking", "not real numbers"),
        (None, "not real numbers"),
        (np.zeros((20, 3), complex), "complex128, not real numbers"),
        ([[1, 2, 3]] * 19 + [[1, 2]], "not an array of numbers"),
        (np.full((20, 3), 1e300), "NaN or infinite"),
    ],
    ids=range(10),
)
def test_what_is_no_window_is_refused_at_the_door(window: Any, message: str) -> None:
    with (
        Model.load(pack(fixture("classifier_int8"), manifest())) as model,
        pytest.raises(InputError, match=message),
    ):
        model.predict(window)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int16, np.uint8, bool])
def test_other_numbers_are_taken_as_float32(dtype: type) -> None:
    with Model.load(fixture("classifier_float")) as model:
        window = (windows(1)[0] > 0).astype(dtype)
        assert model.predict(window)[:6] == model.predict(window.astype(np.float32))[:6]
        assert model.predict(window.tolist())[:6] == model.predict(window.astype(np.float32))[:6]


def test_a_window_is_never_written_to_and_its_layout_does_not_matter() -> None:
    for name in ("classifier_int8", "classifier_float"):
        with Model.load(pack(fixture(name), manifest())) as model:
            window = windows(1)[0]
            before = window.copy()
            expected = model.predict(window).outputs
            assert np.array_equal(window, before)
            assert model.predict(np.asfortranarray(window)).outputs == expected
            wide = np.zeros((20, 6), np.float32)
            wide[:, ::2] = window
            assert model.predict(wide[:, ::2]).outputs == expected
            window.flags.writeable = False
            assert model.predict(window).outputs == expected


def test_an_autoencoder_scores_what_it_cannot_reproduce(backend: str) -> None:
    spec = OutputSpec("anomaly", threshold=5.0)
    with Model.load(pack(fixture("autoencoder_int8"), manifest(spec)), backend=backend) as model:
        for window in windows(3):
            x = model.preprocess(window).ravel()
            tensor = model.output_specs[0]
            raw = model.run_raw(window).astype(np.float32)
            y = (raw - tensor.zero_point[0]) * tensor.scale[0]
            result = model.predict(window)
            assert result.score == pytest.approx(float(np.mean((y - x) ** 2)), rel=1e-5)
            assert result.label == ("anomaly" if result.score > 5.0 else "normal")
            assert result.outputs == (result.score,)


def test_a_detector_without_suppression_gets_it(backend: str) -> None:
    spec = OutputSpec("detection", ("cat", "dog", "owl"), 0.6)
    quiet = manifest(spec, preprocess=())
    with Model.load(pack(fixture("detector_float"), quiet), backend=backend) as model:
        result = model.predict(np.zeros((20, 3), np.float32))
    assert result.label == "cat"
    assert [result.outputs[i] for i in range(0, len(result.outputs), 6)] == [0.0, 1.0, 2.0]


def test_an_open_axis_takes_the_manifests_length(backend: str) -> None:
    spec = manifest(OutputSpec("regression"), preprocess=())
    with Model.load(pack(fixture("open_shape_float"), spec), backend=backend) as model:
        assert model.input_spec.shape == (1, 20, 3)
        window = windows(1)[0]
        assert model.predict(window).outputs == pytest.approx(window.mean(axis=0), abs=1e-5)


def test_a_variable_does_not_leak_from_one_window_into_the_next(backend: str) -> None:
    with Model.load(fixture("variable_float"), backend=backend) as model:
        x = np.ones(3, np.float32)
        first = model.predict(x).outputs
        assert model.predict(x).outputs == first
        assert model.predict_batch([x, x])[1].outputs == first
        assert model.run_raw(x).tolist() == list(first)


def test_a_streaming_operator_runs_on_where_the_stream_does(backend: str) -> None:
    with Model.load(fixture("variable_float"), backend=backend) as model:
        x = np.ones(3, np.float32)
        alone = model.predict(x).outputs
        assert model.predict(x, new=1).outputs != alone
        assert model.predict(x, new=99).outputs == alone  # after a gap it starts anew


def test_a_model_that_counts_for_itself_is_left_to_count(backend: str) -> None:
    with Model.load(fixture("counter_float"), backend=backend) as model:
        ones = np.ones((20, 3), np.float32)
        assert [model.predict(ones).score for _ in range(3)] == [60, 120, 180]
        assert [r.score for r in model.predict_batch([ones] * 20)] == [
            180 + 60 * i for i in range(1, 21)
        ]


@pytest.mark.parametrize(
    ("name", "spec", "error", "message"),
    [
        (
            "classifier_int8",
            manifest(OutputSpec("classification", LABELS[:3])),
            ManifestError,
            "3 labels but the model's output has 4",
        ),
        (
            "classifier_int8",
            manifest(preprocess=(PreprocessStep("standardise", {}),)),
            PreprocessError,
            "did you mean 'standardize'",
        ),
        (
            "classifier_int8",
            manifest(inputs=InputSpec(channels("ab"), 50.0, 20, 10, (20, 2)), preprocess=()),
            BundleError,
            r"preprocessing gives \[20, 2\] but the model's input .* takes \[1, 20, 3\]",
        ),
        (
            "open_shape_float",
            manifest(
                OutputSpec("regression"),
                inputs=InputSpec(channels("ab"), 50.0, 20, 10, (20, 2)),
                preprocess=(),
            ),
            BundleError,
            r"preprocessing gives \[20, 2\]",
        ),
    ],
)
def test_a_manifest_that_does_not_fit_its_model_is_found_while_loading(
    name: str, spec: Manifest, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Model.load(pack(fixture(name), spec))


def test_a_model_that_the_interpreter_refuses_says_what_the_bundle_asks_for(backend: str) -> None:
    good = fixture("classifier_int8")
    version = good.index((3).to_bytes(4, "little"), 8)
    newer = good[:version] + b"\x63" + good[version + 1 :]
    needs = manifest(requires=Requires("2.99.0", ("SOFTMAX",)))
    with pytest.raises(BackendError, match=r"refuses the model.*asks for TFLite 2\.99\.0 or later"):
        Model.load(pack(newer, needs), backend=backend)


def test_a_golden_test_survives_the_way_through_a_file(backend: str, tmp_path: Path) -> None:
    from edgeml.runtime.golden import check_golden

    given = windows(3)
    plain = pack(fixture("classifier_int8"), manifest())
    with Model.load(plain, backend=backend) as model:
        outputs = np.stack([model.run_raw(w) for w in given])
    path = tmp_path / "gait.tflite"
    path.write_bytes(pack(fixture("classifier_int8"), manifest(), Golden(given, outputs, 0.0)))
    bundle = Bundle.read(path)
    assert bundle.golden is not None
    with Model.load(bundle, backend=backend) as model:
        assert check_golden(model, bundle.golden).passed
