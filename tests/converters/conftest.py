"""A tiny trained model, its data and its spec: what most conversions here start from."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edgeml_converters import Spec, read_spec, standardize_step
from edgeml_converters.training import seeded

SHAPE = (20, 2)
LABELS = ("slow", "fast", "still")

Floats = npt.NDArray[np.float32]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.workstation)


def waves(n: int, seed: int) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Windows of a slow wave, a fast one, or noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    time = np.arange(SHAPE[0])[:, np.newaxis]
    phase = rng.uniform(0, 6, (n, 1, SHAPE[1]))
    rate = np.array([0.2, 0.9, 0.0])[labels][:, np.newaxis, np.newaxis]
    windows = 5 * np.sin(rate * time + phase) * (rate > 0) + rng.normal(0, 0.3, (n, *SHAPE)) + 3
    return windows.astype(np.float32), labels


@pytest.fixture(scope="session")
def keras() -> Any:
    return seeded(1)


@pytest.fixture(scope="session")
def data() -> tuple[Floats, npt.NDArray[np.int64]]:
    return waves(240, seed=1)


@pytest.fixture(scope="session")
def held_out() -> tuple[Floats, npt.NDArray[np.int64]]:
    return waves(90, seed=2)


@pytest.fixture(scope="session")
def spec_file(data: tuple[Floats, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    step = standardize_step(data[0]).params
    path = tmp_path_factory.mktemp("spec") / "spec.toml"
    path.write_text(
        f"""
name = "waves"
version = 3

[input]
channels = [{{ name = "left", unit = "V" }}, {{ name = "right", unit = "V" }}]
sample_rate_hz = 50
window = {SHAPE[0]}
stride = 10

[output]
task = "classification"
labels = {list(LABELS)}

[[preprocess]]
step = "standardize"
mean = {step["mean"]}
std = {step["std"]}
""",
        "utf-8",
    )
    return path


@pytest.fixture(scope="session")
def spec(spec_file: Path) -> Spec:
    return read_spec(spec_file)


@pytest.fixture(scope="session")
def model(keras: Any, data: tuple[Floats, Any], spec: Spec) -> Any:
    from edgeml_converters.bundling import pipeline_of

    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input(SHAPE, name="waves"),
            layers.Conv1D(8, 3, activation="relu", name="conv"),
            layers.Conv1D(8, 3, strides=2, activation="relu", name="conv_2"),
            layers.Flatten(name="flat"),
            layers.Dense(3, activation="softmax", name="kind"),
        ],
        name="waves_network",
    )
    network.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy")
    network.fit(pipeline_of(spec).batch(data[0]), data[1], epochs=8, verbose=0)
    return network


@pytest.fixture(scope="session")
def saved(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "waves.keras"
    model.save(path)
    return path
