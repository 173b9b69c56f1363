"""A model saved in any way that is understood converts to the same answers."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeml import Model
from edgeml.errors import ConversionError
from edgeml.manifest import InputSpec, OutputSpec, channels
from edgeml_converters import Spec, convert
from edgeml_converters.bundling import pipeline_of
from edgeml_converters.sources import open_source

BESIDE = Path(__file__).parents[3] / "shared" / "data"
MLPERF = Path(os.environ.get("EDGEML_TEST_DATA", BESIDE)) / "mlperf_tiny"


@pytest.mark.parametrize("kind", ["object", "keras", "h5", "saved_model", "concrete_function"])
def test_every_way_to_save_a_model_gives_the_same_answers_and_the_same_file_size(
    kind: str, model: Any, saved: Path, data: Any, spec: Spec, tmp_path: Path
) -> None:
    import tensorflow as tf

    source: object = model
    if kind == "keras":
        source = saved
    elif kind == "h5":
        source = tmp_path / "waves.h5"
        model.save(source)
    elif kind == "saved_model":
        source = tmp_path / "waves"
        model.export(source, verbose=False)
    elif kind == "concrete_function":
        function = tf.function(lambda x: model(x, training=False))
        source = function.get_concrete_function(tf.TensorSpec((None, *spec.inputs.shape)))
    opened = open_source(source)
    windows = pipeline_of(spec).batch(data[0])
    np.testing.assert_allclose(
        opened.predict(windows), model.predict(windows, verbose=0), atol=1e-5
    )
    conversion = convert(source, data[0], spec=spec, scheme="int8")
    assert conversion.verdict.agreement > 0.97
    assert len(conversion.tflite) < 5000


def test_a_saved_model_of_fixed_batch_predicts_any_number_of_windows(
    model: Any, data: Any, spec: Spec, tmp_path: Path
) -> None:
    opened = open_source(model)
    opened.save(tmp_path)
    again = open_source(tmp_path)
    windows = pipeline_of(spec).batch(data[0][:5])
    np.testing.assert_allclose(again.predict(windows), opened.predict(windows), atol=1e-6)


def test_a_model_with_two_inputs_is_refused(keras: Any) -> None:
    a, b = keras.Input((3,)), keras.Input((3,))
    network = keras.Model([a, b], keras.layers.Add()([a, b]))
    with pytest.raises(ConversionError, match="2 inputs and 1 outputs"):
        open_source(network)


def test_a_model_of_open_length_is_refused(keras: Any) -> None:
    network = keras.Sequential([keras.Input((None, 3)), keras.layers.LSTM(4)])
    with pytest.raises(ConversionError, match="fixed sizes"):
        open_source(network)


def test_what_is_no_model_is_named() -> None:
    with pytest.raises(ConversionError, match="a dict is not a model"):
        open_source({})


@pytest.mark.skipif(
    not MLPERF.is_dir(), reason="MLPerf Tiny's files are not here (EDGEML_TEST_DATA)"
)
def test_a_keras_2_file_is_read_by_itself_and_the_report_says_so() -> None:
    pytest.importorskip("tf_keras")
    with np.load(MLPERF / "wakeword_calibration.npz") as arrays:
        windows = arrays["specs"].astype(np.float32)
    names = channels([f"mel{i}" for i in range(40)])
    labels = ("wakeword", "silence", "other")
    spec = Spec(
        "wakeword",
        1,
        InputSpec(names, None, 30, 1, (30, 1, 40)),
        OutputSpec("classification", labels),
    )
    conversion = convert(MLPERF / "wakeword.h5", windows, spec=spec, scheme="int8")
    assert any("Keras 2" in line for line in conversion.warnings)
    assert len(conversion.tflite) <= 74_520
    assert conversion.verdict.agreement > 0.95


def test_a_model_trained_in_half_precision_is_converted_in_float32(keras: Any, data: Any) -> None:
    layers = keras.layers
    keras.config.set_dtype_policy("mixed_float16")
    try:
        network = keras.Sequential(
            [keras.Input((20, 2)), layers.Flatten(), layers.Dense(3, activation="softmax")]
        )
    finally:
        keras.config.set_dtype_policy("float32")
    conversion = convert(network, data[0], scheme="float32")
    assert any("trained in float16" in line for line in conversion.warnings)
    assert network.layers[-1].compute_dtype == "float16"
    weights = network.layers[-1].get_weights()
    logits = data[0].reshape(len(data[0]), -1) @ weights[0] + weights[1]
    with Model.load(conversion.bundle) as model:
        said = np.array([result.outputs for result in model.predict_batch(data[0])])
    shares = np.exp(logits - logits.max(1, keepdims=True))
    np.testing.assert_allclose(said, shares / shares.sum(1, keepdims=True), atol=1e-5)


def test_what_a_model_objects_to_in_its_windows_is_one_line(keras: Any, tmp_path: Path) -> None:
    layers = keras.layers
    network = keras.Sequential([keras.Input((8,)), layers.Embedding(20, 2), layers.Flatten()])
    tokens = np.arange(800).reshape(100, 8)
    with pytest.raises(
        ConversionError, match=r"calling Embedding.* is not in \[0, 20\) .*trained on"
    ):
        convert(network, tokens)
    assert convert(network, tokens % 20, scheme="float32").verdict.agreement > 0.999


def test_a_signature_of_text_is_refused(keras: Any, tmp_path: Path) -> None:
    import tensorflow as tf

    module = tf.Module()
    text = [tf.TensorSpec((None, 8), tf.string)]
    module.serve = tf.function(tf.strings.to_number, input_signature=text)
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": module.serve})
    with pytest.raises(ConversionError, match="input is string, and a device has numbers"):
        open_source(tmp_path)
