"""Many windows at once: the same answers as one by one, whatever the task, in batches or not."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from edgeml.bundle import pack
from edgeml.errors import InputError
from edgeml.manifest import InputSpec, Manifest, OutputSpec, channels
from edgeml.runtime.backend import installed
from edgeml.runtime.batch import SIZES
from edgeml.runtime.model import Model

FIXTURES = Path(__file__).parents[1] / "fixtures"
LABELS = ("still", "walk", "run", "jump")


@pytest.fixture(params=installed())
def backend(request: pytest.FixtureRequest) -> str:
    """Each interpreter that is installed here."""
    return str(request.param)


def fixture(name: str) -> bytes:
    return (FIXTURES / f"{name}.tflite").read_bytes()


def windows(count: int) -> npt.NDArray[np.float32]:
    i = np.arange(count * 60, dtype=np.int64)
    return (((i * 37) % 101 - 50) / 16).astype(np.float32).reshape(count, 20, 3)


def bundle(name: str, outputs: OutputSpec) -> bytes:
    manifest = Manifest(
        name="gait",
        version=7,
        task=outputs.task,
        created="2026-01-31T12:00:00Z",
        inputs=InputSpec(channels(("x", "y", "z"), "m/s^2"), 50.0, 20, 10, (20, 3)),
        outputs=outputs,
    )
    return pack(fixture(name), manifest)


@pytest.mark.parametrize("name", ["classifier_int8", "classifier_float", "two_outputs_float"])
@pytest.mark.parametrize("count", [0, 1, 7, 16, 300])
def test_a_batch_gives_what_single_windows_give(backend: str, name: str, count: int) -> None:
    with Model.load(fixture(name), backend=backend) as model:
        given = windows(count)
        for _ in range(2):  # the first call learns the size, the second uses it
            results = model.predict_batch(given)
            singles = [model.predict(window) for window in given]
            assert [r.label for r in results] == [r.label for r in singles]
            for batched, single in zip(results, singles, strict=True):
                assert batched.outputs == pytest.approx(single.outputs, abs=1e-5)
            if name == "classifier_int8":
                assert [r.outputs for r in results] == [r.outputs for r in singles]


@pytest.mark.parametrize(
    ("name", "outputs"),
    [
        ("classifier_int8", OutputSpec("classification", LABELS, threshold=0.97)),
        ("logits_float", OutputSpec("classification", LABELS)),
        ("classifier_int8", OutputSpec("multilabel", LABELS, threshold=0.02)),
        (
            "classifier_int8",
            OutputSpec("regression", LABELS, postprocess={"scale": 2, "offset": -1}),
        ),
        ("classifier_uint8", OutputSpec("embedding", postprocess={"normalise": True})),
        ("autoencoder_int8", OutputSpec("anomaly", threshold=0.5)),
        (
            "classifier_int8",
            OutputSpec(
                "anomaly", threshold=0.5, postprocess={"centres": [[1, 0, 0, 0], [0, 0, 0, 1]]}
            ),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else value.task,
)
def test_every_task_answers_a_batch_as_it_answers_its_windows(
    backend: str, name: str, outputs: OutputSpec
) -> None:
    with Model.load(bundle(name, outputs), backend=backend) as model:
        given = windows(4 * SIZES[0])
        model.predict_batch(given)
        results = model.predict_batch(given)
        singles = [model.predict(window) for window in given]
    assert [r.label for r in results] == [r.label for r in singles]
    assert [r.score for r in results] == pytest.approx([r.score for r in singles], abs=1e-5)
    for batched, single in zip(results, singles, strict=True):
        assert batched.outputs == pytest.approx(single.outputs, abs=1e-5)


def test_results_are_a_sequence_that_makes_a_result_when_it_is_asked_for(backend: str) -> None:
    outputs = OutputSpec("classification", LABELS, threshold=0.97)
    with Model.load(bundle("classifier_int8", outputs), backend=backend) as model:
        results = model.predict_batch(windows(40))
    every = list(results)
    assert {r.label for r in every} > {None}, "the threshold divides nothing"
    assert results.labels == [r.label for r in every]
    assert results.scores.tolist() == [r.score for r in every]
    assert (results[0], results[-1], results[3:5]) == (every[0], every[39], every[3:5])
    assert results == every
    assert results != every[:-1]
    assert every[7] in results
    assert [results[i] for i in range(len(results))] == every
    with pytest.raises(IndexError):
        results[40]


def test_a_batch_of_another_shape_is_refused() -> None:
    with Model.load(bundle("classifier_int8", OutputSpec("classification", LABELS))) as model:
        with pytest.raises(InputError, match=r"gait takes \[n, 20, 3\]"):
            model.predict_batch(np.zeros((5, 20, 4)))
        with pytest.raises(InputError, match=r"gait takes \[n, 20, 3\]"):
            model.predict_batch(0.0)


def test_a_graph_that_mixes_its_rows_is_run_row_by_row(backend: str) -> None:
    """The detector's boxes have a batch of one for ever: a resized run would not be right."""
    with Model.load(fixture("detector_float"), backend=backend) as model:
        results = model.predict_batch(windows(40))
        assert model.batch_rows == 1
        assert [r.outputs for r in results] == [model.predict(w).outputs for w in windows(40)]
