"""PyTorch modules, torch.export files and ONNX files convert to files that answer as they did."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

from edgeml import Bundle, Model
from edgeml.cli.main import main
from edgeml.errors import ConfigError, ConversionError
from edgeml.manifest import InputSpec, OutputSpec, channels
from edgeml_converters import Spec, convert
from edgeml_converters.measure import run_tflite
from edgeml_converters.sources import open_source

CHECKOUT = Path(__file__).resolve().parents[2]
BUNDLES = CHECKOUT / "build" / "sources" / "bundles"
KINDS = ("module", "pt2", "onnx")


def source_of(kind: str, module: Any, files: Path) -> object:
    return module if kind == "module" else files / f"cnn.{kind}"


@pytest.mark.parametrize("kind", KINDS)
def test_the_float_file_agrees_with_torch_to_a_ten_thousandth_and_passes_its_golden_test(
    kind: str, module: Any, files: Path, pictures: Any, spec: Spec, reference: Any
) -> None:
    """tests/arm/test_foreign_bundles.py verifies the same bundles on an emulated Raspberry Pi."""
    conversion = convert(
        source_of(kind, module, files), pictures, spec=spec, scheme="float32", io="float"
    )
    made = run_tflite(conversion.tflite, pictures).outputs
    assert reference.std(0).max() > 0.02, "answers that hardly differ would prove little"
    assert np.abs(made - reference).max() <= 1e-4
    BUNDLES.mkdir(parents=True, exist_ok=True)
    bundle = BUNDLES / f"cnn_{kind}.tflite"
    conversion.write(bundle)
    np.savez(BUNDLES / "torch.npz", windows=pictures[:8], torch=reference[:8])
    with Model.load(bundle) as model:
        assert np.abs(model.run_raw(pictures[0]) - reference[:1]).max() <= 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_every_scheme_is_made_and_judged_against_the_framework_itself(
    kind: str, module: Any, files: Path, pictures: Any, spec: Spec
) -> None:
    conversion = convert(source_of(kind, module, files), pictures, spec=spec)
    assert conversion.analysis.provenance.framework.startswith(
        "onnxruntime" if kind == "onnx" else "torch 2"
    )
    made = {one.scheme: one for one in conversion.candidates if one.bytes is not None}
    assert {"float32", "float16", "dynamic", "int8", "int16x8"} <= set(made)
    assert all(one.verdict.agreement > 0.9 for one in made.values() if one.verdict)
    sizes = {name: one.bytes or 0 for name, one in made.items()}
    assert sizes["int8"] < 0.6 * sizes["float32"]
    assert sizes["dynamic"] < 0.6 * sizes["float32"]
    assert sizes["float16"] < 0.75 * sizes["float32"]


@pytest.mark.parametrize("kind", KINDS)
def test_equal_inputs_give_equal_bytes(
    kind: str, module: Any, files: Path, pictures: Any, spec: Spec
) -> None:
    source = source_of(kind, module, files)
    first, second = (convert(source, pictures[:100], spec=spec, scheme="int8") for _ in range(2))
    assert first.bundle == second.bundle


@pytest.mark.parametrize("kind", KINDS)
def test_windows_with_channels_first_are_taken_as_the_model_has_them(
    kind: str, module: Any, files: Path, pictures: Any, spec: Spec, reference: Any
) -> None:
    turned = np.ascontiguousarray(np.moveaxis(pictures, -1, 1))
    inputs = InputSpec(channels([f"c{i}" for i in range(32)]), None, 3, 1, turned.shape[1:])
    other = Spec("cnn", 1, inputs, spec.outputs)
    conversion = convert(source_of(kind, module, files), turned, spec=other, scheme="float32")
    assert np.abs(run_tflite(conversion.tflite, turned).outputs - reference).max() <= 1e-4


def test_a_square_input_is_settled_by_numbers_because_shapes_say_nothing(tmp_path: Path) -> None:
    """As many samples as channels: both layouts have the same shape, and only one is right."""
    torch.manual_seed(1)
    layers = torch.nn
    network = layers.Sequential(
        layers.Conv1d(16, 8, 3, padding=1), layers.ReLU(), layers.Flatten(), layers.Linear(128, 4)
    ).eval()
    torch.onnx.export(network, (torch.zeros(1, 16, 16),), tmp_path / "square.onnx", dynamo=False)
    rng = np.random.default_rng(0)
    wave = np.sin(np.arange(400) * 0.3) + rng.normal(0, 0.2, 400)
    windows = sliding_window_view(np.stack([wave] * 16), 16, axis=1).transpose(1, 0, 2)
    windows = (windows * rng.normal(size=(1, 16, 1))).astype(np.float32)[:150]
    inputs = InputSpec(channels([f"c{i}" for i in range(16)]), 50.0, 16, 8, (16, 16))
    spec = Spec("square", 1, inputs, OutputSpec("regression"))
    with torch.no_grad():
        reference = network(torch.from_numpy(windows)).numpy()
    for source in (network, tmp_path / "square.onnx"):
        conversion = convert(source, windows, spec=spec, scheme="float32")
        assert np.abs(run_tflite(conversion.tflite, windows).outputs - reference).max() <= 1e-4


def test_windows_that_fit_in_neither_layout_are_refused(
    module: Any, files: Path, spec: Spec
) -> None:
    shape = (24, 31, 3)
    inputs = InputSpec(channels(["red", "green", "blue"]), None, 24, 1, shape)
    other = Spec("cnn", 1, inputs, spec.outputs)
    windows = np.random.default_rng(0).normal(size=(8, *shape)).astype(np.float32)
    with pytest.raises(ConversionError, match=r"takes \[3, 24, 32\], or \[24, 32, 3\]"):
        convert(files / "cnn.onnx", windows, spec=other)


def test_a_module_in_training_is_converted_as_it_infers_and_stays_in_training(
    module: Any, pictures: Any, spec: Spec, reference: Any
) -> None:
    module.train()
    try:
        conversion = convert(module, pictures, spec=spec, scheme="float32")
        assert module.training
    finally:
        module.eval()
    assert np.abs(run_tflite(conversion.tflite, pictures).outputs - reference).max() <= 1e-4


def test_a_module_without_a_spec_takes_its_shape_from_the_windows(
    module: Any, pictures: Any, reference: Any
) -> None:
    conversion = convert(module, pictures, scheme="float32")
    assert np.abs(run_tflite(conversion.tflite, pictures).outputs - reference).max() <= 1e-4
    with pytest.raises(ConfigError, match="what shape it takes"):
        convert(module, iter(pictures))


def test_files_of_torch_save_are_refused_unless_they_are_trusted(
    pictures: Any, spec: Spec, tmp_path: Path
) -> None:
    layers = torch.nn
    network = layers.Sequential(
        layers.Conv2d(3, 4, 3), layers.AdaptiveAvgPool2d(1), layers.Flatten(), layers.Linear(4, 5)
    )
    torch.save(network, tmp_path / "whole.pt")
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    with pytest.raises(ConversionError, match=r"pickle.*--trust-pickle"):
        convert(tmp_path / "whole.pt", pictures, spec=spec)
    with pytest.raises(ConversionError, match="weights without a model"):
        convert(tmp_path / "weights.pth", pictures, spec=spec, trust_pickle=True)
    conversion = convert(
        tmp_path / "whole.pt", pictures, spec=spec, scheme="float32", trust_pickle=True
    )
    with torch.no_grad():
        expected = network.eval()(torch.from_numpy(np.moveaxis(pictures, -1, 1))).numpy()
    assert np.abs(run_tflite(conversion.tflite, pictures).outputs - expected).max() <= 1e-4


def test_the_command_line_converts_an_onnx_file_and_prints_one_json_object(
    files: Path, pictures: Any, spec_file: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "windows.npz", x=pictures[:100])
    command = [
        *(sys.executable, "-m", "edgeml", "convert", str(files / "cnn.onnx"), "--json"),
        *("--calibration", str(tmp_path / "windows.npz"), "--spec", str(spec_file)),
        *("-o", str(tmp_path / "out.tflite"), "--scheme", "int8"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["chosen"] == "int8"
    assert (tmp_path / "out.tflite").is_file()


def test_a_folder_of_pictures_serves_a_model_with_channels_first_with_the_spec_of_init_or_none(
    files: Path, pictures: Any, tmp_path: Path
) -> None:
    spec, folder, out = tmp_path / "spec.toml", tmp_path / "pictures", tmp_path / "out.tflite"
    folder.mkdir()
    for i, picture in enumerate(pictures[:20]):
        shades = np.clip(picture * 60 + 128, 0, 255).astype(np.uint8)
        Image.fromarray(shades).save(folder / f"{i:02}.png")
    model = str(files / "cnn.onnx")
    assert main(["convert", "--init", model, "-o", str(spec)]) == 0
    assert "shape = [24, 32, 3] " in spec.read_text()
    command = ["convert", model, "--calibration", str(folder), "--scheme", "float32"]
    for given in ([], ["--spec", str(spec)]):
        assert main([*command, *given, "-o", str(out)]) == 0
        assert Bundle.read(out).manifest.inputs.shape == (24, 32, 3)


def test_a_model_with_two_outputs_is_refused(tmp_path: Path) -> None:
    two = torch.nn.Module()
    two.forward = lambda x: (x * 2, x * 3)
    torch.export.save(torch.export.export(two, (torch.zeros(1, 6),)), tmp_path / "two.pt2")
    with pytest.raises(ConversionError, match="2 outputs"):
        open_source(tmp_path / "two.pt2")
