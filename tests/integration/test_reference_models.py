"""Every committed reference model holds to the figures on its card."""

import importlib.util
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import numpy as np
import pytest

from edgeml import Bundle, Model
from edgeml.sensors import Replay

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "models"
NAMES = ("activity", "digits", "gait_anomaly")

# What the project promises of them, whatever the card says: (figure, at least).
FLOORS: Mapping[str, tuple[str, float]] = {
    "activity": ("accuracy_int8", 0.95),
    "digits": ("accuracy_int8", 0.97),
    "gait_anomaly": ("auc_int8", 0.9),
}


def bundle_path(name: str) -> Path:
    return MODELS / name / f"{name}.tflite"


def card_figures(name: str) -> dict[str, float]:
    """The table under "Figures" of a card."""
    text = (MODELS / name / "CARD.md").read_text("utf-8")
    rows = re.findall(r"^\| (\w+) \| ([-0-9.]+) \|$", text, re.MULTILINE)
    return {figure: float(value) for figure, value in rows}


def training_script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"train_{name}", MODELS / name / "train.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any connection is an error: the data come with the packages or not at all."""

    def refuse(*_: object) -> NoReturn:
        raise AssertionError("a training script reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize("name", NAMES)
def test_a_card_states_the_sizes_and_scores_of_its_bundle(name: str) -> None:
    bundle = Bundle.read(bundle_path(name))
    figures = card_figures(name)
    quantisation = bundle.manifest.quantisation
    assert quantisation is not None
    assert bundle.manifest.name == name
    assert figures["model_bytes"] == len(bundle.tflite)
    assert figures["bundle_bytes"] == bundle.size_bytes
    assert figures[f"{quantisation.metric}_float"] == pytest.approx(
        quantisation.score_float, abs=5e-5
    )
    assert figures[f"{quantisation.metric}_int8"] == pytest.approx(
        quantisation.score_quantised, abs=5e-5
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_committed_bundle_passes_its_own_golden_test_here(name: str) -> None:
    golden = Bundle.read(bundle_path(name)).golden
    assert golden is not None
    with Model.load(bundle_path(name)) as model:
        for window, expected in zip(golden.windows, golden.outputs, strict=True):
            raw = model.run_raw(window)
            assert raw.dtype == np.int8
            difference = np.abs(raw.astype(int).reshape(-1) - expected.astype(int).reshape(-1))
            assert difference.max() <= golden.tolerance


@pytest.mark.parametrize("name", NAMES)
def test_a_reference_model_is_as_good_as_the_project_promises(name: str) -> None:
    figure, least = FLOORS[name]
    assert card_figures(name)[figure] >= least
    assert bundle_path(name).stat().st_size <= 60 * 1024


def test_quantising_the_activity_model_costs_no_more_than_promised() -> None:
    figures = card_figures("activity")
    assert figures["accuracy_float"] - figures["accuracy_int8"] <= 0.025


def test_the_anomaly_model_is_better_than_a_window_s_energy() -> None:
    figures = card_figures("gait_anomaly")
    assert figures["auc_int8"] > figures["auc_baseline_energy"]
    assert figures["auc_int8"] > figures["auc_baseline_features"]


def test_the_demonstration_ships_the_committed_activity_model() -> None:
    """Byte for byte, and small enough for a device's wheel."""
    data = ROOT / "edgeml" / "demo" / "data"
    assert (data / "activity.tflite").read_bytes() == bundle_path("activity").read_bytes()
    assert sum(file.stat().st_size for file in data.iterdir()) < 250_000
    with np.load(data / "recordings.npz", allow_pickle=False) as arrays:
        assert arrays["codes"].shape == (40, 100, 6)
        assert arrays["codes"].dtype == np.int16
        assert set(arrays["labels"]) == set(
            Bundle.read(bundle_path("activity")).manifest.outputs.labels
        )
        assert float(arrays["sample_rate_hz"]) == 10.0


@pytest.mark.usefixtures("no_network")
@pytest.mark.workstation
@pytest.mark.parametrize("name", NAMES)
def test_measured_again_on_its_data_a_model_gives_the_figures_on_its_card(name: str) -> None:
    """Without a network: the data come with the packages."""
    measured = training_script(name).measure(bundle_path(name))
    figures = card_figures(name)
    assert measured
    for figure, value in measured.items():
        assert figures[figure] == pytest.approx(value, abs=5e-5), figure


@pytest.mark.usefixtures("no_network")
@pytest.mark.workstation
def test_the_demonstration_replays_the_test_recordings_exactly(tmp_path: Path) -> None:
    training_script("activity").write_recordings(tmp_path / "recordings.npz")
    shipped = ROOT / "edgeml" / "demo" / "data" / "recordings.npz"
    assert (tmp_path / "recordings.npz").read_bytes() == shipped.read_bytes()
    windows, _ = training_script("activity").load("test")
    apart = np.abs(Replay(shipped).recordings - windows).max(axis=(0, 1))
    assert (apart <= [0.000501] * 3 + [0.00001] * 3).all()


@pytest.mark.parametrize("name", NAMES)
def test_golden_windows_are_answered_alike_by_every_kernel(name: str) -> None:
    """So that a difference means a fault, and not the other side of a tie."""
    bundle = Bundle.read(bundle_path(name))
    assert bundle.golden is not None
    for delegate in (None, "none"):
        with Model.load(bundle, delegate=delegate) as model:
            given = [model.run_raw(window) for window in bundle.golden.windows]
        np.testing.assert_array_equal(given, bundle.golden.outputs)
