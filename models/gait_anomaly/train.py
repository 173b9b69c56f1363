"""Train `gait_anomaly`: two seconds of walking that are not as this person walks.

Data: recording S06R02E0 of Daphnet, a person with Parkinson's disease with
three accelerometers, as the package aeon carries it. The excerpt holds no
labelled freezing of gait, every label is 0, so nothing here claims to detect it.
What can be measured honestly: the false alarms on normal walking that the model
never saw, and how well it tells that walking from copies of it with a known
fault (`faults.py`), beside baselines that need no model.
"""

import argparse
import importlib.util
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgeml import Model
from edgeml.manifest import Budgets, Channel, InputSpec, OutputSpec, PreprocessStep
from edgeml.preprocess import Pipeline
from edgeml_converters import Spec, convert, standardize_step
from edgeml_converters.metrics import METRICS
from edgeml_converters.training import finish, fit, say, seeded

HERE: Final = Path(__file__).parent
SEED: Final = 3
SAMPLE_RATE_HZ: Final = 64.0
WINDOW: Final = 128
STRIDE: Final = 32
EPOCHS: Final = 60
CREATED: Final = "2026-11-22T00:00:00Z"
"""Fixed, so that training twice gives the same file."""

TRAINING: Final = (1700, 4600)
THRESHOLD: Final = (4600, 5650)
TESTING: Final = (5650, 6750)
STANDING: Final = (300, 1300)
"""Parts of the recording, in samples: it stands until about 1600, then walks to and fro."""

FALSE_ALARMS: Final = 0.01
"""The share of normal windows that may lie above the threshold, on data of their own."""

CHANNELS: Final = tuple(
    Channel(f"{place}_{axis}", "mg")
    for place in ("ankle", "leg", "trunk")
    for axis in ("forward", "vertical", "lateral")
)
WINDOW_SHAPE: Final = (WINDOW, len(CHANNELS))
FEATURES: Final = PreprocessStep(
    "statistics",
    {"features": ["mean", "std"], "bands_hz": [[0.5, 1.5], [1.5, 3.0], [3.0, 8.0]]},
)

Floats = npt.NDArray[np.float32]
Wide = npt.NDArray[np.float64]


def load() -> Floats:
    """The recording from aeon's own folder: float32 (7040, 9), in mg."""
    with warnings.catch_warnings():
        # aeon will drop the file in 1.7; the models' requirements say which version carries it.
        warnings.simplefilter("ignore", FutureWarning)
        from aeon.datasets import load_daphnet_s06r02e0

        samples, _ = load_daphnet_s06r02e0()
    return np.asarray(samples, np.float32)


def cut(samples: Floats, part: tuple[int, int], stride: int, length: int = WINDOW) -> Floats:
    """Windows of one part: float32 (n, length, 9)."""
    starts = range(part[0], part[1] - length + 1, stride)
    return np.stack([samples[start : start + length] for start in starts])


@dataclass(frozen=True, slots=True)
class Trial:
    """The windows to test on: normal walking, and the same with each fault.

    Attributes:
        normal: float32 (n, 128, 9).
        faulty: by the fault's name, as many each.
    """

    normal: Floats
    faulty: dict[str, Floats]

    @property
    def windows(self) -> Floats:
        """All of them, the normal ones first."""
        return np.concatenate([self.normal, *self.faulty.values()])

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """1 for a fault, in the order of `windows`."""
        return (np.arange(len(self.windows)) >= len(self.normal)).astype(np.int64)


def make_trial(samples: Floats, part: tuple[int, int]) -> Trial:
    """Normal and faulty windows of one part."""
    faults = load_faults()
    longer = int(np.ceil(WINDOW * faults.HURRY)) + 2
    normal = cut(samples, part, STRIDE // 4, longer)
    windows = np.ascontiguousarray(normal[:, :WINDOW])
    faulty = {name: fault(windows) for name, fault in faults.FAULTS.items()}
    return Trial(windows, {**faulty, "hurried": faults.hurried(normal, WINDOW)})


def load_faults() -> ModuleType:
    """The module `faults.py` beside this one, which is a script and has no package."""
    spec = importlib.util.spec_from_file_location("gait_faults", HERE / "faults.py")
    if spec is None or spec.loader is None:
        raise ImportError(f"{HERE / 'faults.py'} is missing")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def steps(windows: Floats) -> tuple[PreprocessStep, ...]:
    """Features of each channel, each standardised on these windows."""
    features = Pipeline.from_steps((FEATURES,), WINDOW_SHAPE, SAMPLE_RATE_HZ).batch(windows)
    return FEATURES, standardize_step(features, each=True)


def train(prepared: Floats) -> Any:
    """A trained Keras model: an autoencoder of the features, with 16 numbers in the middle."""
    keras = seeded(SEED)
    layers = keras.layers
    shape = prepared.shape[1:]
    model = keras.Sequential(
        [
            keras.Input(shape, name="features"),
            layers.Flatten(name="flat"),
            layers.Dense(32, activation="relu", name="encode"),
            layers.Dense(16, name="code"),
            layers.Dense(32, activation="relu", name="decode"),
            layers.Dense(int(np.prod(shape)), name="restored"),
            layers.Reshape(shape, name="restored_features"),
        ],
        name="gait_network",
    )
    model.compile(keras.optimizers.Adam(2e-3), "mse")
    fit(model, prepared, prepared, EPOCHS, 32, "gait_anomaly")
    return model


def make_spec(windows: Floats, threshold: float = 1.0) -> Spec:
    """What the bundle says; the standardisation is fitted on these windows."""
    return Spec(
        name="gait_anomaly",
        version=1,
        description="Two seconds of walking that are not as this person usually walks",
        inputs=InputSpec(CHANNELS, SAMPLE_RATE_HZ, WINDOW, STRIDE, WINDOW_SHAPE),
        outputs=OutputSpec("anomaly", threshold=threshold),
        preprocess=steps(windows),
        budgets=Budgets(p95_ms=50.0, peak_rss_mb=200.0),
    )


def auc(normal: Wide, faulty: Wide) -> float:
    """The chance that a faulty window scores above a normal one."""
    scores = np.concatenate([normal, faulty])[:, np.newaxis]
    truth = np.arange(len(scores)) >= len(normal)
    return METRICS["auc"].function(scores, truth)


def energy_baseline(training: Floats, windows: Floats) -> Wide:
    """How far the logarithm of a window's variance is from the usual, in either direction."""
    spread = training.reshape(-1, training.shape[-1]).std(0)

    def energy(some: Floats) -> Wide:
        return np.asarray(np.log((some / spread).var(1).sum(-1) + 1e-6), np.float64)

    unusual: Wide = np.abs(energy(windows) - np.median(energy(training)))
    return unusual


def measure(bundle: Path) -> dict[str, float]:
    """The figures of the card, from the bundle as a device runs it."""
    samples = load()
    training = cut(samples, TRAINING, 4)
    trial = make_trial(samples, TESTING)
    pipeline = Pipeline.from_steps(steps(training), WINDOW_SHAPE, SAMPLE_RATE_HZ)
    with Model.load(bundle) as model:

        def score(windows: Floats) -> Wide:
            return np.array([result.score for result in model.predict_batch(windows)])

        normal = score(trial.normal)
        threshold = model.manifest.outputs.threshold or 0.0
        standing = score(cut(samples, STANDING, STRIDE))
        faulty = {name: score(windows) for name, windows in trial.faulty.items()}
    everything = np.concatenate(list(trial.faulty.values()))
    figures = {
        "auc_int8": auc(normal, np.concatenate(list(faulty.values()))),
        "auc_baseline_energy": auc(
            energy_baseline(training, trial.normal), energy_baseline(training, everything)
        ),
        "auc_baseline_features": auc(
            _squares(pipeline, trial.normal), _squares(pipeline, everything)
        ),
        "false_alarms": float(np.mean(normal > threshold)),
        "standing_above_threshold": float(np.mean(standing > threshold)),
        "test_windows_normal": float(len(normal)),
    }
    for name, scores in faulty.items():
        figures[f"auc_{name}"] = auc(normal, scores)
        figures[f"found_{name}"] = float(np.mean(scores > threshold))
    return figures


def _squares(pipeline: Pipeline, windows: Floats) -> Wide:
    """The baseline without a model on the same features: their mean squared standard score."""
    features = pipeline.batch(windows).reshape(len(windows), -1)
    return np.asarray(np.mean(features.astype(np.float64) ** 2, axis=1))


def main() -> None:
    """Train, convert, write, measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE / "gait_anomaly.tflite", help="the bundle")
    out: Path = parser.parse_args().out
    samples = load()
    training = cut(samples, TRAINING, 4)
    spec = make_spec(training)
    pipeline = Pipeline.from_steps(spec.preprocess, WINDOW_SHAPE, SAMPLE_RATE_HZ)
    prepared = pipeline.batch(training)
    model = train(prepared)
    normal = pipeline.batch(cut(samples, THRESHOLD, 8))
    errors = np.mean((np.asarray(model(normal)) - normal) ** 2, axis=(1, 2))
    threshold = float(f"{np.quantile(errors, 1 - FALSE_ALARMS):.4g}")
    trial = make_trial(samples, TESTING)
    conversion = convert(
        model,
        training,
        spec=make_spec(training, threshold),
        scheme="int8",
        evaluation=(trial.windows, trial.labels),
        max_drop=0.02,
        created=CREATED,
    )
    finish(conversion, out)
    for name, figure in measure(out).items():
        say(f"{name} {figure:.4f}")


if __name__ == "__main__":
    main()
