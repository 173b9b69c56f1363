"""What a conversion refuses, and what it warns of: each by a message that says what to do."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeml.cli.main import main
from edgeml.errors import ConfigError, ConversionError, EdgeMLError, InputError
from edgeml.manifest import InputSpec, OutputSpec, PreprocessStep, channels
from edgeml_converters import NoneFitsError, Spec, convert
from edgeml_converters.samples import warnings_about


def _spoilt(windows: Any, how: Callable[[Any], Any]) -> Any:
    return how(windows.copy())


def _nan(windows: Any) -> Any:
    windows[3, 5, 1] = np.nan
    return windows


# What is wrong with the windows, and what the message must say.
BAD_WINDOWS: list[tuple[str, Callable[[Any], Any], str]] = [
    ("a NaN", _nan, "NaN or infinite, the first in window 3"),
    ("too short", lambda w: w[:, :-1], r"\(n, 20, 2\)"),
    ("no window at all", lambda w: w[:0], "no windows"),
    ("words", lambda w: w.astype(str), "not numbers"),
    ("pickled objects", lambda w: w.astype(object), "not numbers"),
]


@pytest.mark.parametrize(
    ("what", "how", "message"), BAD_WINDOWS, ids=[row[0] for row in BAD_WINDOWS]
)
def test_windows_that_cannot_calibrate_are_refused(
    what: str, how: Callable[[Any], Any], message: str, data: Any, spec: Spec
) -> None:
    with pytest.raises(InputError, match=f"calibration: .*{message}"):
        convert(None, _spoilt(data[0], how), spec=spec)


def test_too_few_windows_are_a_warning_that_says_how_many_are_wise(
    model: Any, data: Any, held_out: Any, spec: Spec
) -> None:
    conversion = convert(model, data[0][:12], spec=spec, evaluation=held_out, scheme="int8")
    assert any("12 windows; 100 or more are wise" in line for line in conversion.warnings)


def test_a_channel_that_never_varies_is_a_warning_that_names_it(
    model: Any, data: Any, held_out: Any, spec: Spec
) -> None:
    windows = data[0].copy()
    windows[..., 1] = 2.5
    conversion = convert(model, windows, spec=spec, evaluation=held_out, scheme="int8")
    assert any("channel 'right' is always 2.5" in line for line in conversion.warnings)


def test_many_channels_that_never_vary_are_one_warning() -> None:
    inputs = InputSpec(channels([f"c{i}" for i in range(9)]), None, 1, 1, (1, 9))
    found = warnings_about(np.full((200, 1, 9), 4, np.float32), inputs, "calibration")
    assert len(found) == 1
    assert "'c0' is always 4, 'c1' is always 4, 'c2' is always 4 and 6 more; was" in found[0]


@pytest.mark.parametrize("labels", [np.arange(240) % 3 + 0.5, np.eye(3)[np.arange(240) % 3]])
def test_labels_that_are_no_whole_numbers_one_a_window_are_refused(
    labels: Any, data: Any, spec: Spec
) -> None:
    with pytest.raises(InputError, match="a class is one whole number, or a name"):
        convert(None, data[0], spec=spec, labels=labels)


def test_an_unknown_label_names_the_nearest(model: Any, data: Any, spec: Spec) -> None:
    names = np.array([spec.outputs.labels[i] for i in data[1]])
    names[7] = "fsat"
    with pytest.raises(InputError, match=r"'fsat' is none of .* did you mean 'fast'"):
        convert(model, data[0], spec=spec, evaluation=(data[0], names))


def test_an_operator_that_only_tensorflow_has_is_refused_by_its_name(
    keras: Any, data: Any, spec: Spec
) -> None:
    import tensorflow as tf

    bessel = keras.layers.Lambda(tf.math.special.bessel_i0)
    network = keras.Sequential(
        [keras.Input(spec.inputs.shape), bessel, keras.layers.Flatten(), keras.layers.Dense(3)]
    )
    with pytest.raises(ConversionError, match=r"BesselI0.*Flex"):
        convert(network, data[0], spec=spec, scheme="float32")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"scheme": "int9"}, ConfigError, "did you mean 'int8'"),
        ({"io": "int4"}, ConfigError, "io 'int4'"),
        ({"metric": "acuracy"}, ConfigError, "did you mean 'accuracy'"),
        ({"metric": "accuracy"}, ConfigError, "needs labels"),
        ({"max_drop": -0.1}, ConfigError, "0 or more"),
        ({"max_drop": float("nan")}, ConfigError, "0 or more"),
    ],
)
def test_an_option_that_does_not_exist_is_refused_before_any_work(
    options: dict[str, Any], error: type[EdgeMLError], message: str, data: Any, spec: Spec
) -> None:
    with pytest.raises(error, match=message):
        convert(None, data[0], spec=spec, **options)


def test_a_spec_that_does_not_fit_the_model_is_refused(model: Any, data: Any, spec: Spec) -> None:
    select = PreprocessStep("select", {"channels": [0]})
    with pytest.raises(ConversionError, match=r"\[20, 1\], but the model takes \[20, 2\]"):
        convert(model, data[0], spec=replace(spec, preprocess=(select,)))
    two = OutputSpec("classification", spec.outputs.labels[:2])
    with pytest.raises(ConversionError, match="names 2 labels"):
        convert(model, data[0], spec=replace(spec, outputs=two))


def test_a_model_that_is_no_longer_good_enough_is_refused_with_its_score(
    keras: Any, data: Any, spec: Spec
) -> None:
    """A network whose answer hangs on differences that eight bits cannot hold."""
    network = keras.Sequential(
        [keras.Input(spec.inputs.shape), keras.layers.Flatten(), keras.layers.Dense(3)]
    )
    kernel = np.zeros((int(np.prod(spec.inputs.shape)), 3), np.float32)
    kernel[0] = 1000
    kernel[1:3, 1:] = np.eye(2)
    network.layers[-1].set_weights([kernel, np.zeros(3, np.float32)])
    with pytest.raises(NoneFitsError, match=r"no scheme keeps agreement within 0\.01") as caught:
        convert(network, data[0], spec=spec, scheme="int8", max_drop=0.01)
    assert caught.value.candidates[0].verdict is not None


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.keras", b"", "no zip"),
        ("model.keras", b"PK\x03\x04" + bytes(100), "no zip"),
        ("model.h5", b"\x89HDF\r\n\x1a", "not an HDF5"),
        ("model.h5", b"\x89HDF\r\n\x1a\n" + bytes(500), "damaged"),
        ("model.kears", b"", "did you mean '.keras'"),
    ],
)
def test_a_file_that_is_no_model_is_one_line_of_error(
    name: str, content: bytes, message: str, data: Any, spec: Spec, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConversionError, match=message) as caught:
        convert(tmp_path / name, data[0], spec=spec)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(data: Any, spec: Spec, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"absent\.keras: cannot be read"):
        convert(tmp_path / "absent.keras", data[0], spec=spec)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-o", "{}"], "is a folder; name a file in it for the bundle"),
        (["-o", "{}/train.npy"], "the bundle would replace what it is made from"),
        (["-o", "{}/a.tflite", "--report", "{}/a.tflite"], "the report would replace the bundle"),
        (["-o", "{}/none/a.tflite"], "none is no folder; make it"),
        (["--limit-s", "nan"], "--limit-s is nan; give seconds"),
    ],
)
def test_a_place_or_a_limit_that_cannot_be_is_refused_before_any_work(
    options: list[str], message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    windows = tmp_path / "train.npy"
    windows.touch()
    given = [option.format(tmp_path) for option in options]
    source = str(tmp_path / "model.keras")
    status = main(["convert", source, "--calibration", str(windows), *given])
    assert status == ConfigError.exit_code
    assert message in capfd.readouterr().err


def test_data_that_are_not_there_are_refused_before_a_process_loads_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("edgeml_converters.guard.run_guarded", lambda *_: pytest.fail("begun"))
    (tmp_path / "train.npy").touch()
    given = ["convert", "model.keras", "--calibration", str(tmp_path / "train.npy")]
    for option in ("--calibration", "--evaluation", "--labels"):
        assert main([*given, option, str(tmp_path / "none.npz")]) == InputError.exit_code
        assert "none.npz: cannot be read" in capfd.readouterr().err


def test_a_folder_gives_its_whole_name_to_its_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """v1.1 and v1.2 of a model would else be one file."""
    (tmp_path / "v1.2").mkdir()
    (tmp_path / "a.keras").touch()
    monkeypatch.chdir(tmp_path)
    for source, said in (
        ("v1.2", "v1.2.tflite: is a folder"),
        ("a.keras", "a.tflite: is a folder"),
        (".", "name it with -o"),
    ):
        (tmp_path / said.partition(":")[0]).mkdir(exist_ok=True)
        assert main(["convert", source, "--calibration", "x"]) == ConfigError.exit_code
        assert said in capfd.readouterr().err


def test_a_date_that_is_none_is_refused_before_the_model_is_exported(
    model: Any, data: Any, spec: Spec
) -> None:
    steps: list[str] = []
    with pytest.raises(EdgeMLError, match="write UTC as in"):
        convert(model, data[0], spec=spec, created="today", progress=lambda _, s: steps.append(s))
    assert steps == ["open the model"]
