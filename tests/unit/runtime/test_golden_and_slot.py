"""The self-test fails where it should, and a swap never loses, doubles or mixes a window."""

import threading
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from edgeml.bundle import Golden
from edgeml.errors import BackendError, BundleError, InputError, VerificationError
from edgeml.runtime.golden import check_golden
from edgeml.runtime.model import Model
from edgeml.runtime.slot import ModelSlot

FIXTURES = Path(__file__).parents[2] / "fixtures"
OLD, NEW = FIXTURES / "classifier_float.tflite", FIXTURES / "classifier_int8.tflite"


def windows(count: int) -> npt.NDArray[np.float32]:
    i = np.arange(count * 60, dtype=np.int64)
    return (((i * 37) % 101 - 50) / 16).astype(np.float32).reshape(count, 20, 3)


def golden(model: Model, tolerance: float) -> Golden:
    given = windows(3)
    return Golden(given, np.stack([model.run_raw(w) for w in given]), tolerance)


def test_a_model_passes_the_test_made_of_its_own_outputs() -> None:
    with Model.load(NEW) as model:
        report = check_golden(model, golden(model, 0.0))
    assert report.as_dict() == {
        "passed": True,
        "windows": 3,
        "worst": 0.0,
        "tolerance": 0.0,
        "failed": 0,
    }


@pytest.mark.parametrize(("step", "passed"), [(1, True), (2, True), (3, False)])
def test_the_tolerance_counts_steps_of_the_output(step: int, passed: bool) -> None:
    with Model.load(NEW) as model:
        good = golden(model, 2.0)
        good.outputs[1, 0] += step
        report = check_golden(model, good)
    assert (report.passed, report.worst, report.failed) == (passed, step, 0 if passed else 1)


def test_nan_never_passes() -> None:
    with Model.load(OLD) as model:
        good = golden(model, 1e9)
        good.outputs[0, 0] = np.nan
        report = check_golden(model, good)
    assert not report.passed
    assert report.as_dict()["worst"] is None


def test_expected_outputs_of_another_shape_or_dtype_are_an_error() -> None:
    with Model.load(NEW) as model:
        good = golden(model, 0.0)
        for wrong in (good.outputs[:, :2], good.outputs.astype(np.uint8)):
            with pytest.raises(BundleError, match="golden outputs are"):
                check_golden(model, Golden(good.windows, wrong, 0.0))


def test_a_swap_changes_the_model_and_closes_the_old_one() -> None:
    with ModelSlot(Model.load(OLD)) as slot:
        old = slot.model
        window = windows(1)[0]
        before = slot.predict(window)
        slot.swap(lambda: Model.load(NEW))
        after = slot.predict(window)
        assert before.model.digest != after.model.digest
        with pytest.raises(BackendError, match="is closed"):
            old.predict(window)


@pytest.mark.parametrize("failure", ["load", "verify"])
def test_where_the_new_model_fails_the_old_one_stays(failure: str) -> None:
    made: list[Model] = []

    def load() -> Model:
        if failure == "load":
            raise BundleError("not a model")
        made.append(Model.load(NEW))
        return made[0]

    def refuse(_: Model) -> None:
        raise VerificationError("not on this machine")

    with ModelSlot(Model.load(OLD)) as slot:
        digest = slot.model.ref.digest
        with pytest.raises((BundleError, VerificationError)):
            slot.swap(load, verify=refuse)
        assert slot.predict(windows(1)[0]).model.digest == digest
        for model in made:
            with pytest.raises(BackendError, match="is closed"):
                model.predict(windows(1)[0])


def test_the_model_that_serves_may_be_offered_again_and_goes_on() -> None:
    def refuse(_: Model) -> None:
        raise VerificationError("not on this machine")

    with ModelSlot(Model.load(OLD)) as slot:
        assert slot.swap(slot.model, verify=refuse) is slot.model
        assert slot.predict(windows(1)[0]).label is not None


def test_while_the_new_model_loads_the_old_one_serves() -> None:
    window = windows(1)[0]
    with ModelSlot(Model.load(OLD)) as slot:
        old = slot.model.ref.digest

        def load_while_serving() -> Model:
            served.append(slot.predict(window).model.digest)
            return Model.load(NEW)

        served: list[str] = []
        slot.swap(load_while_serving, verify=lambda _: served.append(slot.model.ref.digest))
        assert served == [old, old]
        assert slot.predict(window).model.digest != old


def test_every_window_is_served_once_by_one_model_whole_while_models_change() -> None:
    """The label of each window must be that of the model whose digest the result carries."""
    given = windows(8)
    expected: dict[tuple[str, int], tuple[float, ...]] = {}
    for path in (OLD, NEW):
        with Model.load(path) as model:
            for i, window in enumerate(given):
                expected[model.ref.digest, i] = model.predict(window).outputs
    with ModelSlot(Model.load(OLD)) as slot:
        done = threading.Event()
        served: list[tuple[str, int, tuple[float, ...]]] = []

        def serve() -> None:
            i = 0
            while not done.is_set() or len({digest for digest, _, _ in served}) < 2:
                result = slot.predict(given[i % 8])
                served.append((result.model.digest, i % 8, result.outputs))
                i += 1

        thread = threading.Thread(target=serve)
        thread.start()
        for i in range(40):
            slot.swap(partial(Model.load, (NEW, OLD)[i % 2]))
        done.set()
        thread.join(300)
        assert not thread.is_alive()
    assert [window for _, window, _ in served] == [i % 8 for i in range(len(served))]
    assert all(expected[digest, i] == outputs for digest, i, outputs in served)


def test_an_error_in_a_window_leaves_the_slot_usable() -> None:
    with ModelSlot(Model.load(NEW)) as slot:
        with pytest.raises(InputError):
            slot.predict(np.full((20, 3), np.nan, np.float32))
        assert slot.predict(windows(1)[0]).label is not None


def test_a_closed_slot_takes_no_model_and_may_be_closed_again() -> None:
    slot = ModelSlot(Model.load(OLD))
    slot.close()
    slot.close()
    with pytest.raises(BackendError, match="is closed"):
        slot.predict(windows(1)[0])
    with pytest.raises(BackendError, match="the slot is closed"):
        slot.swap(lambda: Model.load(NEW))
