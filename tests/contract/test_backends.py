"""Every interpreter keeps one contract; int8 results are the same to the bit behind all of them."""

import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from platform import machine

import numpy as np
import numpy.typing as npt
import pytest

from edgeml.errors import BackendError, BundleError, ConfigError
from edgeml.runtime.backend import (
    BACKENDS,
    WORKSTATION,
    Backend,
    DelegateSpec,
    installed,
    open_backend,
)
from edgeml.runtime.model import Model
from edgeml.runtime.tensors import dequantise, quantise

FIXTURES = Path(__file__).parents[1] / "fixtures"
SHAPE = (20, 3)

# What LiteRT 2.3.0 on x86-64 gives for `windows(4)`; every other machine must give the same.
CLASSIFIER_INT8 = (
    (-115, -115, -124, 97),
    (-124, -126, -126, 121),
    (-122, -128, -127, 120),
    (-127, -128, -128, 126),
)


def windows(count: int) -> npt.NDArray[np.float32]:
    """Windows made of exact fractions, so that every machine has the same bits."""
    i = np.arange(count * 60, dtype=np.int64)
    values = ((i * 37) % 101 - 50) / 16
    return values.astype(np.float32).reshape(count, *SHAPE)


def fixture(name: str) -> bytes:
    return (FIXTURES / f"{name}.tflite").read_bytes()


@pytest.fixture(
    params=[
        *installed(),
        *(pytest.param(name, marks=pytest.mark.workstation) for name in WORKSTATION),
    ]
)
def name(request: pytest.FixtureRequest) -> str:
    """Each interpreter that is installed here; on a workstation TensorFlow's too."""
    return str(request.param)


def opened(name: str, model: str) -> Backend:
    return open_backend(fixture(model), name)


def run(backend: Backend, window: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    given = backend.input
    raw = backend.run(quantise(window, given).reshape(given.shape))[0]
    return dequantise(raw, backend.outputs[0])


def test_an_interpreter_is_installed_at_all() -> None:
    assert installed()


def test_int8_results_are_the_same_bits_behind_every_interpreter(name: str) -> None:
    backend = opened(name, "classifier_int8")
    given = backend.input
    raw = [
        tuple(backend.run(quantise(w, given).reshape(given.shape))[0][0].tolist())
        for w in windows(4)
    ]
    assert tuple(raw) == CLASSIFIER_INT8


@pytest.mark.parametrize("model", ["classifier_uint8", "classifier_float_io", "classifier_float"])
def test_every_way_of_quantising_the_classifier_agrees_with_the_float_one(
    name: str, model: str
) -> None:
    backend, exact = opened(name, model), opened(name, "classifier_float")
    for window in windows(4):
        assert np.abs(run(backend, window) - run(exact, window)).max() < 0.06


def test_the_tensors_say_what_the_file_says(name: str) -> None:
    backend = opened(name, "classifier_int8")
    assert backend.name == name
    assert backend.version[0].isdigit()
    assert backend.batches == (backend.name != "tflite" or not machine().startswith("armv"))
    assert backend.input.shape == (1, *SHAPE)
    assert backend.input.dtype == np.int8
    assert backend.input.quantised
    assert backend.outputs[0].shape == (1, 4)
    assert backend.outputs[0].scale.tolist() == [1 / 256]
    assert backend.outputs[0].zero_point.tolist() == [-128]


def test_what_is_written_into_the_view_is_what_runs(name: str) -> None:
    backend = opened(name, "classifier_int8")
    x = quantise(windows(1), backend.input)
    expected = backend.run(x)[0]
    backend.run(np.zeros_like(x))
    backend.view()[...] = x
    assert np.array_equal(backend.run()[0], expected)


def test_outputs_are_copies_that_the_next_run_leaves_alone(name: str) -> None:
    backend = opened(name, "classifier_float")
    first, second = windows(2)
    kept = backend.run(first[np.newaxis])[0]
    before = kept.copy()
    backend.run(second[np.newaxis])
    assert np.array_equal(kept, before)


def test_two_outputs_come_in_the_order_of_the_tensors(name: str) -> None:
    backend = opened(name, "two_outputs_float")
    window = windows(1)
    outputs = dict(zip([t.shape for t in backend.outputs], backend.run(window), strict=True))
    assert np.allclose(outputs[(1, 3)], window.mean(axis=1), atol=1e-6)
    assert np.array_equal(outputs[(1, 20)], window.max(axis=2))


def test_a_resized_model_runs_its_rows_as_the_single_one_does(name: str) -> None:
    single, batch = opened(name, "classifier_int8"), opened(name, "classifier_int8")
    if not batch.batches:
        pytest.skip("this interpreter crashes on more than one row, and says so")
    batch.resize((4, *SHAPE))
    assert batch.outputs[0].shape == (4, 4)
    x = quantise(windows(4), single.input)
    together = batch.run(x)[0]
    assert [single.run(row[np.newaxis])[0][0].tolist() for row in x] == together.tolist()


def test_a_shape_that_the_model_cannot_take_is_an_error(name: str) -> None:
    backend = opened(name, "classifier_int8")
    with pytest.raises(BackendError, match="does not take an input of"):
        backend.resize((1, 7))


def test_an_input_of_another_shape_or_dtype_is_an_error(name: str) -> None:
    backend = opened(name, "classifier_int8")
    with pytest.raises(BackendError, match="failed while running"):
        backend.run(np.zeros((1, 7), np.int8))
    with pytest.raises(BackendError, match="failed while running"):
        backend.run(np.zeros((1, *SHAPE), np.float32))


def test_a_variable_tensor_keeps_its_state_until_it_is_reset(name: str) -> None:
    backend = opened(name, "variable_float")
    x = np.ones((1, 3), np.float32)
    first = backend.run(x)[0]
    assert not np.array_equal(backend.run(x)[0], first)
    backend.reset_variables()
    assert np.array_equal(backend.run(x)[0], first)


def test_a_model_cut_short_never_reaches_the_interpreter(name: str) -> None:
    good = fixture("classifier_int8")
    for length in range(0, len(good) - 4, 97):
        with pytest.raises(BundleError):
            Model.load(good[:length], backend=name)


@pytest.mark.parametrize("damage", ["empty", "another format"])
def test_a_damaged_model_is_an_error_of_ours(name: str, damage: str) -> None:
    good = fixture("classifier_int8")
    damaged = {"empty": b"", "another format": good[:4] + b"GGUF" + good[8:]}
    with pytest.raises(BackendError, match="refuses the model"):
        open_backend(damaged[damage], name)


def test_fewer_than_one_thread_is_an_error(name: str) -> None:
    with pytest.raises(ConfigError, match="at least one"):
        open_backend(fixture("classifier_int8"), name, threads=0)


def test_threads_change_nothing_but_the_time(name: str) -> None:
    two = open_backend(fixture("classifier_int8"), name, threads=2)
    assert two.threads == 2
    x = quantise(windows(1), two.input)
    assert tuple(two.run(x)[0][0].tolist()) == CLASSIFIER_INT8[0]


def test_a_delegate_that_does_not_load_is_an_error_here_and_a_fallback_in_a_model(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(BackendError, match=r"no-such-library\.so"):
        open_backend(fixture("classifier_int8"), name, delegate=DelegateSpec("no-such-library.so"))
    with Model.load(
        fixture("classifier_int8"), backend=name, delegate="no-such-library.so"
    ) as model:
        assert model.info.delegate is None
        assert "no-such-library.so" in str(model.info.delegate_error)
        assert "runs on the CPU" in caplog.text
        assert model.run_raw(windows(1)[0]).tolist() == list(CLASSIFIER_INT8[0])
    with pytest.raises(BackendError, match=r"no-such-library\.so"):
        Model.load(
            fixture("classifier_int8"),
            backend=name,
            delegate="no-such-library.so",
            require_delegate=True,
        )


def test_the_edge_tpu_is_asked_for_by_its_library(name: str) -> None:
    """Without a Coral it counts which library was looked for, and the fallback."""
    with Model.load(fixture("classifier_int8"), backend=name, delegate="edgetpu") as model:
        loaded = model.info.delegate == "edgetpu"
        assert loaded or "edgetpu" in str(model.info.delegate_error)
        assert model.run_raw(windows(1)[0]).tolist() == list(CLASSIFIER_INT8[0])


def test_without_delegates_the_results_are_the_same_bits(name: str) -> None:
    plain = open_backend(fixture("classifier_int8"), name, delegate=DelegateSpec("none"))
    assert plain.delegate == "none"
    x = quantise(windows(1), plain.input)
    assert tuple(plain.run(x)[0][0].tolist()) == CLASSIFIER_INT8[0]


def ties(scale: np.float32) -> Iterator[npt.NDArray[np.float32]]:
    """Numbers at, just below and just above every half step, and far outside."""
    half = ((np.arange(-140, 140) + 0.5) * scale).astype(np.float32)
    below, above = np.nextafter(half, -9), np.nextafter(half, np.float32(9))
    spread = np.linspace(-9, 9, 1024 - 3 * half.size, dtype=np.float32)
    yield np.concatenate([half, below, above, spread]).reshape(1, 32, 32)


def test_our_rounding_is_that_of_the_interpreters_own_operator(name: str) -> None:
    """LiteRT agrees to the bit; tflite-runtime 2.14 rounds exact halves its own way."""
    backend = opened(name, "quantise_int8")
    target = backend.outputs[0]
    for x in ties(target.scale[0]):
        theirs = backend.run(x)[0].ravel().astype(int)
        ours = quantise(x, target).ravel().astype(int)
        differ = np.flatnonzero(theirs != ours)
        if name == "litert":
            assert not differ.size
        assert np.abs(theirs - ours).max() <= 1
        assert (differ < 3 * 280).all()


def test_the_native_librarys_info_lines_stay_off_stderr(name: str) -> None:
    script = (
        "import sys\n"
        "from edgeml.runtime.backend import open_backend\n"
        "open_backend(open(sys.argv[1], 'rb').read(), sys.argv[2]).run()\n"
        "print('still here', file=sys.stderr)\n"
    )
    path = FIXTURES / "classifier_float.tflite"
    command = [sys.executable, "-c", script, str(path), name]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=900)
    assert done.stderr == "still here\n"


def test_importing_edgeml_imports_no_interpreter(name: str) -> None:
    package = BACKENDS[name].package if name in BACKENDS else "tensorflow"
    script = f"import sys, edgeml, edgeml.runtime.model; print({package!r} in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=900
    )
    assert done.stdout == "False\n"
    assert import_module(package).__name__ == package
