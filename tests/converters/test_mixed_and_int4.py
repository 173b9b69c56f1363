"""Schemes beyond TensorFlow's switches: a few layers in float, and weights in four bits."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeml import Bundle, Model
from edgeml.errors import ConversionError
from edgeml.manifest import InputSpec, OutputSpec, channels
from edgeml_converters import NoneFitsError, Spec, convert
from edgeml_converters.bundling import pipeline_of
from edgeml_converters.inspection import read_activations, read_weights
from edgeml_converters.mixed import layer_names, rank
from edgeml_converters.schemes import SCHEMES, check_applied
from edgeml_converters.sources import open_source
from edgeml_converters.workshop import Workshop

SIZE = 16
SPEC = Spec(
    "ladder",
    1,
    InputSpec(channels([f"c{i}" for i in range(SIZE)]), None, 16, 1, (SIZE,)),
    OutputSpec("regression"),
)


@pytest.fixture(scope="module")
def fragile(keras: Any) -> Any:
    """A network whose middle layer gives one value so large that eight bits lose all the others."""
    rng = np.random.default_rng(3)
    layers = keras.layers
    given = keras.Input((SIZE,))
    x = layers.Dense(SIZE, activation="relu", name="first")(given)
    x = layers.Dense(SIZE, name="coarse")(x)
    x = layers.Dense(SIZE, activation="relu", name="after")(x)
    network = keras.Model(given, layers.Dense(4, name="last")(x))
    for layer in network.layers[1:]:
        kernel, bias = layer.get_weights()
        kernel = rng.normal(0, 0.4, kernel.shape).astype(np.float32)
        if layer.name == "coarse":
            kernel[:, 0] = 300.0
        if layer.name == "after":
            kernel[0] = 0.0
        layer.set_weights([kernel, bias])
    return network


@pytest.fixture(scope="module")
def windows() -> Any:
    return np.random.default_rng(4).normal(size=(120, SIZE)).astype(np.float32)


def test_the_layer_whose_output_eight_bits_cannot_hold_is_named(fragile: Any, windows: Any) -> None:
    conversion = convert(fragile, windows, spec=SPEC, scheme="int8")
    assert conversion.analysis.hurts is not None
    assert "coarse" in conversion.analysis.hurts
    rows = {layer.name: layer for layer in conversion.analysis.layers}
    worst = rows[conversion.analysis.hurts]
    assert worst.fall_db == max(layer.fall_db for layer in rows.values())
    assert worst.held is not None
    assert worst.held[1] >= 0.3 * worst.seen[1]


def test_mixed_leaves_the_fewest_layers_in_float_that_keep_the_score(
    fragile: Any, windows: Any
) -> None:
    with pytest.raises(NoneFitsError):
        convert(fragile, windows, spec=SPEC, scheme="int8", max_drop=0.05)
    conversion = convert(fragile, windows, spec=SPEC, scheme="mixed", max_drop=0.05)
    chosen = conversion.chosen
    assert conversion.verdict.drop <= 0.05
    assert 1 <= len(chosen.in_float) <= 3
    assert any("coarse" in name for name in chosen.in_float)
    assert read_activations(conversion.tflite) == {"int8", "float32"}
    kinds = {layer.name: layer.dtype for layer in conversion.analysis.layers}
    for name, kind in kinds.items():
        assert (kind == "float32") == (name in chosen.in_float), name
    quantisation = Bundle.from_bytes(conversion.bundle).manifest.quantisation
    assert quantisation is not None
    assert quantisation.scheme == "mixed"


def test_auto_tries_mixed_only_where_int8_loses_too_much(fragile: Any, windows: Any) -> None:
    strict = convert(fragile, windows, spec=SPEC, scheme="auto", max_drop=0.05)
    mixed = next(one for one in strict.candidates if one.scheme == "mixed")
    assert mixed.in_float
    assert mixed.verdict is not None
    lax = convert(fragile, windows, spec=SPEC, scheme="auto", max_drop=1.0)
    assert next(one for one in lax.candidates if one.scheme == "mixed").verdict is None


def test_layers_are_ranked_by_what_their_own_quantisation_costs(
    fragile: Any, windows: Any, tmp_path: Path
) -> None:
    open_source(fragile).save(tmp_path)
    int8 = Workshop(tmp_path, "int8", windows).int8()
    order = rank(int8, "int8", windows)
    assert sorted(order) == sorted(layer_names(int8.calibrated))
    assert all("coarse" in name or "after" in name for name in order[:2])


def test_a_file_with_nothing_mixed_in_it_is_not_called_mixed(
    fragile: Any, windows: Any, tmp_path: Path
) -> None:
    open_source(fragile).save(tmp_path)
    workshop = Workshop(tmp_path, "int8", windows)
    with pytest.raises(ConversionError, match="nothing is mixed"):
        check_applied(workshop.make(SCHEMES["int8"]), SCHEMES["mixed"], "int8")


def test_int4_weights_run_here_and_their_bundle_asks_for_a_runtime_that_knows_them(
    model: Any, data: Any, held_out: Any, spec: Spec, tmp_path: Path
) -> None:
    conversion = convert(model, data[0], spec=spec, evaluation=held_out, scheme="int4")
    weights = read_weights(conversion.tflite)
    assert weights.elements["int4"] > weights.total / 2
    assert conversion.verdict.agreement > 0.9
    requires = Bundle.from_bytes(conversion.bundle).manifest.requires
    assert requires is not None
    assert requires.runtime == "2.15.0"
    conversion.write(tmp_path / "a.tflite")
    with Model.load(tmp_path / "a.tflite") as loaded:
        assert loaded.predict(held_out[0][0]).label in spec.outputs.labels


def test_a_float_file_is_not_called_int4(model: Any, data: Any, spec: Spec, tmp_path: Path) -> None:
    open_source(model).save(tmp_path)
    workshop = Workshop(tmp_path, "float", pipeline_of(spec).batch(data[0]))
    with pytest.raises(ConversionError, match="left the weights as they were"):
        check_applied(workshop.make(SCHEMES["float32"]), SCHEMES["int4"], "float")
