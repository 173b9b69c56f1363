"""A model with nothing written about it: what is guessed, and data in any form."""

import json
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.svm import OneClassSVM

from edgeml import Bundle, Model
from edgeml.cli.main import main
from edgeml.errors import ConfigError, InputError
from edgeml_converters import Spec, convert, read_spec
from edgeml_converters.bundling import pipeline_of
from edgeml_converters.guess import guess_spec, layouts, spec_text, with_labels
from edgeml_converters.material import gather_material
from edgeml_converters.sources import FloatModel, open_source


@pytest.fixture(scope="module")
def prepared(data: Any, spec: Spec) -> Any:
    """What the network was trained on: without a spec nothing else prepares its input."""
    return pipeline_of(spec).batch(data[0])


def test_a_distribution_is_taken_for_classes_and_anything_else_for_a_regression(
    model: Any, keras: Any
) -> None:
    guessed = guess_spec(open_source(model), "my waves.v2")
    assert guessed.name == "my_waves_v2"
    assert guessed.inputs.shape == (20, 2)
    assert guessed.outputs.labels == ("class0", "class1", "class2")
    plain = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2)])
    assert guess_spec(open_source(plain), "plain").outputs.task == "regression"


@pytest.mark.parametrize("shape", [(5,), (20, 2), (8, 8, 3)])
def test_the_spec_that_init_writes_reads_as_the_guess(
    shape: tuple[int, ...], keras: Any, tmp_path: Path
) -> None:
    layers = [keras.layers.Flatten(), keras.layers.Dense(4, activation="softmax")]
    opened = open_source(keras.Sequential([keras.Input(shape), *layers]))
    guessed = guess_spec(opened, "thing")
    (tmp_path / "spec.toml").write_text(spec_text(guessed, opened))
    assert read_spec(tmp_path / "spec.toml") == guessed


def test_init_writes_a_spec_with_which_a_conversion_works_unchanged(
    saved: Path, prepared: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spec_file, out = tmp_path / "spec.toml", tmp_path / "out.tflite"
    assert main(["convert", "--init", str(saved), "-o", str(spec_file)]) == 0
    assert "fill it in" in capfd.readouterr().out
    np.save(tmp_path / "train.npy", prepared)
    options = ["--calibration", str(tmp_path / "train.npy"), "--scheme", "int8", "--json"]
    status = main(["convert", str(saved), *options, "--spec", str(spec_file), "-o", str(out)])
    printed = capfd.readouterr()
    assert status == 0, printed.err
    assert json.loads(printed.out)["candidates"][0]["agreement"] > 0.9
    assert Bundle.read(out).manifest.name == "waves"


def test_init_never_overwrites(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_text("mine")
    assert main(["convert", "--init", str(saved), "-o", str(tmp_path / "spec.toml")]) == 18
    assert (tmp_path / "spec.toml").read_text() == "mine"


def test_the_names_of_labels_come_from_the_data_with_a_warning(
    model: Any, data: Any, prepared: Any, spec: Spec
) -> None:
    names = np.array([spec.outputs.labels[i] for i in data[1]])
    conversion = convert(model, prepared, labels=names, scheme="float32")
    assert Bundle.from_bytes(conversion.bundle).manifest.outputs.labels == ("fast", "slow", "still")
    assert any("order of the alphabet" in line for line in conversion.warnings)


def test_labels_that_count_a_network_s_outputs_say_that_it_is_a_classifier(
    keras: Any, prepared: Any, data: Any
) -> None:
    """It ends before its softmax, as most networks of other frameworks do."""
    layers = keras.layers
    network = keras.Sequential([keras.Input((20, 2)), layers.Flatten(), layers.Dense(3)])
    conversion = convert(network, prepared, labels=data[1], scheme="float32")
    assert conversion.metric == "accuracy"
    outputs = Bundle.from_bytes(conversion.bundle).manifest.outputs
    assert (outputs.task, outputs.labels) == ("classification", ("class0", "class1", "class2"))
    assert any("taken for a classifier" in line for line in conversion.warnings)
    kinds = np.array(["still", "slow", "fast"])[data[1]]
    named = convert(network, prepared, labels=kinds, scheme="float32")
    assert Bundle.from_bytes(named.bundle).manifest.outputs.labels == ("fast", "slow", "still")
    values = np.zeros((len(prepared), 3), np.float32)
    assert convert(network, prepared, labels=values, scheme="float32").metric == "mse"
    with pytest.raises(InputError, match="answers 3 numbers"):
        convert(network, prepared, labels=data[1] / 2, scheme="float32")


@pytest.mark.parametrize("activation", ["sigmoid", None])
def test_one_chance_for_two_classes_is_a_classifier(
    keras: Any, prepared: Any, data: Any, activation: str | None
) -> None:
    """A device reads it as the second label's, behind a sigmoid where the file has none."""
    layers = keras.layers
    network = keras.Sequential(
        [keras.Input((20, 2)), layers.Flatten(), layers.Dense(1, activation=activation)]
    )
    moving = data[1] < 2
    network.compile("adam", keras.losses.BinaryCrossentropy(from_logits=activation is None))
    network.fit(prepared, moving, epochs=3, verbose=0)
    conversion = convert(
        network, prepared, labels=np.where(moving, "moving", "at rest"), scheme="int8"
    )
    outputs = Bundle.from_bytes(conversion.bundle).manifest.outputs
    assert (outputs.task, outputs.labels) == ("classification", ("at rest", "moving"))
    assert any("one value and the labels are two classes" in one for one in conversion.warnings)
    with Model.load(conversion.bundle) as model:
        said = np.array([result.label == "moving" for result in model.predict_batch(prepared)])
    assert np.mean(said == moving) == pytest.approx(conversion.verdict.score)
    confusion = conversion.analysis.confusion_chosen
    assert confusion is not None
    assert confusion.counts[1][1] == np.sum(said & moving)
    opened = open_source(network)
    counted, _ = with_labels(guess_spec(opened, "moving"), opened, moving.astype(np.int64))
    assert counted.outputs.task == ("classification" if activation else "regression")


@pytest.mark.parametrize(
    ("make", "outputs"),
    [
        (
            lambda: IsolationForest(n_estimators=10, contamination=0.1, random_state=0),
            ("anomaly", True),
        ),
        (OneClassSVM, ("anomaly", True)),
        (lambda: PCA(2), ("embedding", False)),
    ],
    ids=["isolation forest", "one-class SVM", "PCA"],
)
def test_what_an_estimator_is_for_is_in_the_spec_that_init_writes(
    make: Any, outputs: tuple[str, bool], tmp_path: Path
) -> None:
    rows = np.random.default_rng(0).normal(size=(120, 4))
    opened = open_source(make().fit(rows))
    guessed = guess_spec(opened, "thing")
    assert (guessed.outputs.task, guessed.outputs.threshold is not None) == outputs
    (tmp_path / "spec.toml").write_text(spec_text(guessed, opened))
    assert read_spec(tmp_path / "spec.toml") == guessed


def test_windows_may_come_from_a_generator_that_has_no_end(
    model: Any, data: Any, held_out: Any, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeml_converters.datafiles.MAX_GENERATED", 150)

    def windows() -> Iterator[Any]:
        while True:
            yield from zip(data[0], data[1], strict=True)

    conversion = convert(model, windows(), spec=spec, scheme="int8")
    assert conversion.metric == "accuracy"
    assert conversion.analysis.provenance.calibration_windows == 150
    assert any("the first 150 windows are taken" in line for line in conversion.warnings)

    def as_tensorflow_wants_them() -> Iterator[Any]:
        for window in data[0]:
            yield [window[np.newaxis]]

    same = convert(model, as_tensorflow_wants_them(), spec=spec, scheme="int8")
    assert same.metric == "agreement"


def test_windows_may_come_in_batches_and_in_pairs_with_their_labels(data: Any, spec: Spec) -> None:
    """As tf.data, a DataLoader and train_test_split give them."""
    windows, labels = data
    parts = np.array_split(np.arange(len(windows)), 7)
    forms: list[Any] = [
        (windows, labels),
        ((windows[part], labels[part]) for part in parts),
        ([windows[part], labels[part]] for part in parts),
        zip(windows, labels, strict=True),
    ]
    for form in forms:
        material = gather_material(form, None, None, spec)
        np.testing.assert_array_equal(material.samples.windows, windows)
        assert material.judged.labels is not None
        np.testing.assert_array_equal(material.judged.labels, labels)
    alone = gather_material((windows[part] for part in parts), (windows, labels), None, spec)
    np.testing.assert_array_equal(alone.samples.windows, windows)
    with pytest.raises(InputError, match=r"batch of 35 windows came with labels \[3\]"):
        gather_material(((windows[part], labels[:3]) for part in parts), None, None, spec)


def test_a_generator_that_changes_its_mind_is_refused(model: Any, data: Any, spec: Spec) -> None:
    shapes = (window[: 20 - (i == 7)] for i, window in enumerate(data[0]))
    with pytest.raises(InputError, match=r"window 7 has the shape \[19, 2\]"):
        convert(model, shapes, spec=spec)


def test_a_folder_of_sounds_calibrates_and_judges(keras: Any, tmp_path: Path) -> None:
    """Loud or soft, learnt by nobody: the network measures the mean square itself."""
    rng = np.random.default_rng(5)
    for name, level in (("loud", 9000), ("soft", 300)):
        (tmp_path / name).mkdir()
        with wave.open(str(tmp_path / name / "a.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(8000)
            file.writeframes(rng.normal(0, level, 8000).astype("<i2").tobytes())
    layers = keras.layers
    given = keras.Input((200, 1))
    power = layers.GlobalAveragePooling1D()(layers.Multiply()([given, given]))
    dense = layers.Dense(2, activation="softmax")
    network = keras.Model(given, dense(power))
    dense.set_weights([np.array([[100.0, -100.0]], np.float32), np.array([-2.0, 2.0], np.float32)])
    opened = open_source(network)
    text = spec_text(guess_spec(opened, "sound"), opened)
    text = text.replace('["class0", "class1"]', '["loud", "soft"]')
    (tmp_path / "spec.toml").write_text(text)
    conversion = convert(network, tmp_path, spec=read_spec(tmp_path / "spec.toml"), scheme="int8")
    assert conversion.metric == "accuracy"
    assert conversion.verdict.score_float == 1.0
    assert conversion.verdict.score > 0.9
    assert conversion.analysis.provenance.calibration_windows == 80


def test_a_float_model_at_chance_level_is_told_so(
    model: Any, data: Any, held_out: Any, spec: Spec
) -> None:
    guesses = np.random.default_rng(8).integers(0, 3, len(held_out[1]))
    conversion = convert(
        model, data[0], spec=spec, evaluation=(held_out[0], guesses), scheme="float32"
    )
    assert any("not measurably better than chance" in line for line in conversion.warnings)
    honest = convert(model, data[0], spec=spec, evaluation=held_out, scheme="float32")
    assert not any("chance" in line for line in honest.warnings)


def test_a_conversion_without_calibration_data_is_a_usage_error(saved: Path) -> None:
    assert main(["convert", str(saved)]) == ConfigError.exit_code


def test_the_terminal_shows_one_bar_and_one_table(
    saved: Path, data: Any, spec_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever TensorFlow and the quantizer have to say stays out of it."""
    np.savez(tmp_path / "train.npz", x=data[0], y=data[1])
    options = ["--calibration", str(tmp_path / "train.npz"), "--spec", str(spec_file)]
    out = tmp_path / "out.tflite"
    assert main(["convert", str(saved), *options, "-o", str(out)]) == 0
    printed = capfd.readouterr()
    assert all(line.startswith(("convert ", "warning: ")) for line in printed.err.splitlines())
    lines = printed.out.splitlines()
    assert lines[0].startswith("scheme")
    first = [line.split()[0] for line in lines[2:] if line[:1].strip()]
    assert first[:6] == ["float32", "float16", "dynamic", "int8", "int16x8", "mixed"]
    assert sum("chosen: " in line for line in lines) == 1
    assert max(map(len, lines)) < 160


def of_torch(*shape: int) -> FloatModel:
    """A model of a framework that has channels in front, as far as a guess looks at it."""

    def sums(batch: Any) -> Any:
        return batch.reshape(len(batch), -1).sum(1, keepdims=True)

    def unused(*_: Any) -> Any:
        raise AssertionError("nothing is converted here")

    return FloatModel("torch", shape, (1,), sums, unused, settled=unused)


def test_a_picture_is_guessed_to_have_its_channels_last_and_a_series_as_the_model_has_it() -> None:
    assert layouts(of_torch(3, 24, 32)) == ((24, 32, 3), (3, 24, 32))
    assert layouts(of_torch(24, 32, 3)) == ((24, 32, 3), (32, 3, 24))
    assert layouts(of_torch(6, 50)) == ((6, 50), (50, 6))
    assert layouts(of_torch(7)) == ((7,),)
    text = spec_text(guess_spec(of_torch(3, 24, 32), "eye"), of_torch(3, 24, 32))
    assert "shape = [24, 32, 3] " in text
    assert "# shape = [3, 24, 32], and 32 channels." in text
    assert "# shape = [50, 6], and 6 channels." in spec_text(
        guess_spec(of_torch(6, 50), "ear"), of_torch(6, 50)
    )


@pytest.mark.parametrize("shape", [(24, 32, 3), (3, 24, 32)])
@pytest.mark.parametrize("form", ["array", "file", "generator"])
def test_without_a_spec_windows_may_have_either_layout(
    form: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    windows = np.random.default_rng(1).normal(size=(5, *shape)).astype(np.float32)
    np.save(tmp_path / "windows.npy", windows)
    forms: dict[str, Any] = {
        "array": windows,
        "file": tmp_path / "windows.npy",
        "generator": ((window, float(i)) for i, window in enumerate(windows)),
    }
    opened = of_torch(3, 24, 32)
    found = gather_material(forms[form], None, None, guess_spec(opened, "eye"), guessed=opened)
    assert found.spec.inputs.shape == shape
    assert (found.samples.windows == windows).all()
    assert (found.judged.labels is not None) == (form == "generator")


def test_windows_of_neither_layout_are_held_against_the_likeliest() -> None:
    opened = of_torch(3, 24, 32)
    with pytest.raises(InputError, match=r"the spec says \(n, 24, 32, 3\)"):
        gather_material(np.zeros((5, 8, 8)), None, None, guess_spec(opened, "eye"), guessed=opened)


def test_without_a_spec_a_table_s_columns_name_the_channels(tmp_path: Path) -> None:
    """A file without a header would else lose its first row to the names."""
    table = tmp_path / "rows.csv"
    table.write_text("time_s,speed,load\n0,1,2\n1,3,4\n2,5,6\n", "utf-8")
    opened = of_torch(2)
    found = gather_material(table, None, None, guess_spec(opened, "pump"), guessed=opened)
    assert [channel.name for channel in found.spec.inputs.channels] == ["speed", "load"]
    assert found.samples.windows.tolist() == [[1, 2], [3, 4], [5, 6]]
    table.write_text("1,2\n3,4\n5,6\n", "utf-8")
    with pytest.raises(InputError, match="no column 'c0'"):
        gather_material(table, None, None, guess_spec(opened, "pump"), guessed=opened)
