"""A small PyTorch CNN, an ONNX file and a .pt2 file of it, and windows as a camera gives them.

These tests run in build/sources/own, which tests/sources/prepare.py makes, and so
does it the converter's environments from nothing, in build/sources/cache.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edgeml.manifest import InputSpec, OutputSpec, channels
from edgeml_converters import Spec

torch = pytest.importorskip("torch", reason="make sources runs these where PyTorch is")

CHECKOUT = Path(__file__).resolve().parents[2]
SHAPE = (24, 32, 3)
CLASSES = 5

Floats = npt.NDArray[np.float32]


def network() -> Any:
    """What a small vision model has in it."""
    layers = torch.nn
    return layers.Sequential(
        layers.Conv2d(3, 12, 3, padding=1),
        layers.BatchNorm2d(12),
        layers.ReLU(),
        layers.MaxPool2d(2),
        layers.Conv2d(12, 12, 3, padding=1, groups=12),
        layers.ReLU6(),
        layers.Conv2d(12, 16, 3, stride=2, padding=1),
        layers.ReLU(),
        layers.AdaptiveAvgPool2d(1),
        layers.Flatten(),
        layers.Linear(16, CLASSES),
        layers.Softmax(-1),
    )


@pytest.fixture(scope="session", autouse=True)
def cache() -> Any:
    folder = CHECKOUT / "build" / "sources" / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEML_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def pictures() -> Floats:
    """Raw windows, channels last, of structure at several scales."""
    rng = np.random.default_rng(3)
    coarse = rng.normal(size=(120, SHAPE[0] // 8, SHAPE[1] // 8, 3))
    fine = coarse.repeat(8, axis=1).repeat(8, axis=2) + rng.normal(0, 0.3, (120, *SHAPE))
    return fine.astype(np.float32)


@pytest.fixture(scope="session")
def spec() -> Spec:
    labels = tuple(f"kind{i}" for i in range(CLASSES))
    inputs = InputSpec(channels(["red", "green", "blue"]), None, SHAPE[0], 1, SHAPE)
    return Spec("cnn", 1, inputs, OutputSpec("classification", labels))


@pytest.fixture(scope="session")
def spec_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, as a person writes it."""
    labels = ", ".join(f'"kind{i}"' for i in range(CLASSES))
    names = ", ".join(f'{{ name = "{name}" }}' for name in ("red", "green", "blue"))
    path = tmp_path_factory.mktemp("spec") / "spec.toml"
    path.write_text(
        f'name = "cnn"\n[input]\nshape = [24, 32, 3]\nchannels = [{names}]\n'
        f'[output]\ntask = "classification"\nlabels = [{labels}]\n'
    )
    return path


@pytest.fixture(scope="session")
def module(pictures: Floats) -> Any:
    """Its statistics are those of the pictures, its last layer tells them apart."""
    torch.manual_seed(7)
    made = network()
    with torch.no_grad():
        for _ in range(20):
            made(first(pictures))
        made[10].weight.mul_(8)
    return made.eval()


@pytest.fixture(scope="session")
def reference(module: Any, pictures: Floats) -> Floats:
    """What PyTorch answers."""
    with torch.no_grad():
        answers: Floats = module(first(pictures)).numpy()
    return answers


@pytest.fixture(scope="session")
def files(module: Any, pictures: Floats, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """cnn.onnx, with a batch of open size, and cnn.pt2, with a batch of 1."""
    folder = tmp_path_factory.mktemp("files")
    torch.onnx.export(
        module,
        (first(pictures[:1]),),
        folder / "cnn.onnx",
        dynamo=False,
        input_names=["image"],
        output_names=["kind"],
        dynamic_axes={"image": {0: "n"}, "kind": {0: "n"}},
    )
    program = torch.export.export(module, (first(pictures[:1]),))
    torch.export.save(program, folder / "cnn.pt2")
    return folder


def first(pictures: Floats) -> Any:
    """Pictures as PyTorch takes them, channels first."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(pictures, -1, 1)))
