"""A model's life: what it says of itself, threads that share it, and its end."""

import threading
import time
import weakref

import pytest

from edgeml.bundle import pack
from edgeml.errors import BackendError, BundleError
from edgeml.runtime.backend import installed
from edgeml.runtime.interpreter import InterpreterBackend
from edgeml.runtime.model import Model

from .gait import fixture, manifest, windows


@pytest.fixture(params=installed())
def backend(request: pytest.FixtureRequest) -> str:
    """Each interpreter that is installed here."""
    return str(request.param)


def test_a_missing_file_is_a_bundle_error() -> None:
    with pytest.raises(BundleError, match=r"no-such\.tflite: cannot be read"):
        Model.load("no-such.tflite")


@pytest.mark.parametrize("name", [b"serving_default_x", b"PartitionedCall"])
def test_a_damaged_name_is_refused_in_one_line(backend: str, name: bytes) -> None:
    whole = fixture("classifier_int8")
    assert name in whole
    damaged = whole.replace(name, b"\xff" * len(name))
    with pytest.raises((BackendError, BundleError), match="can't decode") as caught:
        Model.load(damaged, backend=backend)
    assert "\n" not in str(caught.value)


def test_a_closed_model_says_so_and_may_be_closed_again() -> None:
    model = Model.load(fixture("classifier_int8"))
    model.close()
    model.close()
    for use in (
        lambda: model.predict(windows(1)[0]),
        lambda: model.predict_batch(windows(20)),
        lambda: model.run_raw(windows(1)[0]),
        model.warm_up,
    ):
        with pytest.raises(BackendError, match="is closed; load it again"):
            use()


def test_a_closed_model_gives_its_interpreter_back_without_the_garbage_collector(
    backend: str,
) -> None:
    model = Model.load(fixture("classifier_float"), backend=backend)
    model.predict_batch(windows(300))
    opened = model._backend
    assert isinstance(opened, InterpreterBackend)
    interpreter = weakref.ref(opened._interpreter)
    del opened
    model.close()
    assert interpreter() is None


def test_a_model_may_be_shared_and_handed_on_between_threads() -> None:
    """A lock serialises them: each thread gets the answers to its own windows."""
    given = windows(8)
    with Model.load(pack(fixture("classifier_int8"), manifest())) as model:
        expected = [model.predict(w).outputs for w in given]
        wrong: list[int] = []
        start = threading.Barrier(4)

        def work(first: int) -> None:
            start.wait(120)
            for i in range(400):
                at = (first + i) % 8
                if model.predict(given[at]).outputs != expected[at]:
                    wrong.append(at)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(300)
        assert not any(thread.is_alive() for thread in threads)
    assert not wrong


def test_info_says_what_was_loaded_and_how_it_runs(backend: str) -> None:
    data = pack(fixture("classifier_int8"), manifest())
    with Model.load(data, backend=backend, threads=2) as model:
        info = model.info.as_dict()
    assert info["name"] == "gait"
    assert info["bundle"] is True
    assert info["backend"] == backend
    assert info["threads"] == 2
    assert info["size_bytes"] == len(data)
    assert info["operators"] == ("FULLY_CONNECTED", "RESHAPE", "SOFTMAX")
    assert info["input"]["dtype"] == "int8"
    assert info["outputs"][0]["shape"] == [1, 4]
    assert info["delegate"] is None
    assert info["load_ms"] > 0


def test_warming_up_says_how_long_a_run_takes() -> None:
    with Model.load(fixture("classifier_int8")) as model:
        began_s = time.perf_counter()
        took_ms = model.warm_up()
        assert 0 < took_ms < (time.perf_counter() - began_s) * 1000
