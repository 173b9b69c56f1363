"""The manifest: what is written is what is read, and a mistake names its place and its cure."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeml.errors import ConfigError, ManifestError
from edgeml.jsonread import Fields
from edgeml.manifest import (
    MAX_MANIFEST_BYTES,
    MAX_VERSION,
    TASKS,
    Budgets,
    InputSpec,
    Manifest,
    OutputSpec,
    PreprocessStep,
    Quantisation,
    Requires,
    channels,
)

FULL = Manifest(
    name="gait",
    version=7,
    task="classification",
    created="2026-01-31T12:00:00Z",
    description="µ",
    tflite_sha256="ab" * 32,
    inputs=InputSpec(channels(("x", "y", "z"), "m/s^2"), 50.0, 20, 10, (20, 3)),
    outputs=OutputSpec(
        "classification",
        ("still", "walk"),
        0.5,
        None,
        {"kind": "votes", "k": 2, "n": 3},
        {"activation": "softmax"},
    ),
    preprocess=(PreprocessStep("standardize", {"mean": [0, 1, 2], "std": 1}),),
    quantisation=Quantisation("int8", "cd" * 32, "accuracy", 0.99, 0.98),
    target="pi4",
    requires=Requires("2.3.0", ("ADD", "CONV_2D")),
    budgets=Budgets(20.0, None),
)


def document() -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(FULL.to_json())
    return parsed


def test_what_is_written_is_what_is_read() -> None:
    assert Manifest.from_json(FULL.to_json()) == FULL
    assert Manifest.from_json(FULL.to_json().encode()) == FULL


def test_what_is_optional_may_be_left_out() -> None:
    raw = document()
    for key in ("quantisation", "target", "requires", "budgets", "description", "preprocess"):
        del raw[key]
    for key in ("threshold", "unit", "smoothing", "postprocess"):
        del raw["outputs"][key]
    read = Manifest.from_json(json.dumps(raw))
    assert read.budgets is None
    assert read.preprocess == ()
    assert read.outputs.postprocess is None


def change(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def apply(raw: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        for key in parents:
            raw = raw[key]
        raw[last] = value

    return apply


WRONG: list[tuple[str, Any, str]] = [
    ("name", "a/b", "name 'a/b': use 1 to 64"),
    ("name", "", "use 1 to 64"),
    ("name", "x" * 65, "use 1 to 64"),
    ("name", 7, "manifest.name is 7; it should be a string"),
    ("version", 0, "integer from 1"),
    ("version", -3, "integer from 1"),
    ("version", MAX_VERSION + 1, "integer from 1"),
    ("version", 10**400, "integer from 1"),
    ("version", "1.0", "should be a whole number"),
    ("version", True, "should be a whole number"),
    ("version", 1.0, "should be a whole number"),
    ("task", "clasification", "did you mean 'classification'"),
    ("task", "regression", "but outputs.task is"),
    ("created", "yesterday", "write UTC as in"),
    ("created", "2026-01-31T12:00:00+01:00", "write UTC as in"),
    ("tflite_sha256", "xyz", "not 64 hexadecimal"),
    ("schema", "2.0", "schema 2.0 needs another edgeml"),
    ("schema", 1, "schema is 1"),
    ("inputs.window", 21, "inputs.window is 21 but inputs.shape"),
    ("inputs.stride", 0, "move on by at least one"),
    ("inputs.shape", [20, 2], "names 3 channels but the last axis"),
    ("inputs.shape", [], "at least one element"),
    ("inputs.shape", [20, 0], "at least one element"),
    ("inputs.shape", [1 << 20, 1 << 20], "more than"),
    ("inputs.shape", [20.0, 3], "list of whole numbers"),
    ("inputs.sample_rate_hz", 0, "positive number"),
    ("inputs.sample_rate_hz", -1, "positive number"),
    ("inputs.sample_rate_hz", 10**400, "fits 64 bits"),
    ("inputs.dtype", "int8", "raw windows are float32"),
    ("inputs.channels", ["x"], "should be an object"),
    ("inputs.channels", {}, "should be a list"),
    ("outputs.labels", [], "needs a label for each output"),
    ("outputs.labels", ["a", "a"], "names a label twice"),
    ("outputs.labels", ["a", 1], "list of strings"),
    ("outputs.threshold", "high", "should be a number"),
    ("outputs.smoothing", [], "should be an object"),
    ("preprocess", [{"mean": 0}], "preprocess[0].step is missing"),
    ("preprocess", "none", "should be a list"),
    ("quantisation.scheme", None, "should be a string"),
    ("budgets.p95_ms", "20", "should be a number"),
    ("requires.ops", "ADD", "should be a list"),
]


@pytest.mark.parametrize(("path", "value", "message"), WRONG)
def test_a_wrong_value_names_its_place_and_what_it_should_be(
    path: str, value: Any, message: str
) -> None:
    raw = document()
    change(path, value)(raw)
    with pytest.raises(ManifestError) as failure:
        Manifest.from_json(json.dumps(raw), "gait.tflite: manifest.json")
    assert message in str(failure.value)
    assert str(failure.value).startswith("gait.tflite: manifest.json")


@pytest.mark.parametrize(
    ("path", "right"),
    [
        ("versoin", "version"),
        ("inputs.sample_rate", "sample_rate_hz"),
        ("outputs.treshold", "threshold"),
        ("budgets.p95", "p95_ms"),
    ],
)
def test_an_unknown_key_names_the_nearest_right_one(path: str, right: str) -> None:
    raw = document()
    change(path, 1)(raw)
    with pytest.raises(ManifestError, match=f"not a known key; did you mean '{right}'"):
        Manifest.from_json(json.dumps(raw))


@pytest.mark.parametrize("key", ["schema", "name", "version", "task", "created", "inputs"])
def test_a_missing_key_is_named(key: str) -> None:
    raw = document()
    del raw[key]
    with pytest.raises(ManifestError, match=key):
        Manifest.from_json(json.dumps(raw))


def test_a_later_minor_version_may_say_more() -> None:
    raw = document()
    raw["schema"] = "1.7"
    raw["colour"] = "blue"
    raw["inputs"]["phase"] = 1
    assert Manifest.from_json(json.dumps(raw)).name == "gait"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "7",
        "{",
        '{"schema": "1.0"',
        FULL.to_json().replace("0.5", "NaN"),
        FULL.to_json().replace("0.5", "Infinity"),
        FULL.to_json().replace('"version": 7', '"version": 7, "version": 8'),
        FULL.to_json().replace("µ", "\\ud800"),
        "[" * 100_000,
        '{"schema": ' + "9" * 100_000 + "}",
    ],
    ids=range(12),
)
def test_text_that_is_no_manifest_is_an_error_of_its_own(text: str) -> None:
    with pytest.raises(ManifestError):
        Manifest.from_json(text)


def test_bytes_that_are_no_text_are_an_error_of_its_own() -> None:
    with pytest.raises(ManifestError, match="not JSON"):
        Manifest.from_json(b"\xff\xfe{")


def test_a_manifest_has_a_largest_size() -> None:
    with pytest.raises(ManifestError, match="larger than"):
        Manifest.from_json(" " * (MAX_MANIFEST_BYTES + 1))


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_subnormal=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=300)
@given(data=st.data())
def test_any_json_in_any_place_is_read_or_a_manifest_error(data: st.DataObject) -> None:
    raw = document()
    places = [(raw, key) for key in raw]
    places += [(raw[k], key) for k in raw if isinstance(raw[k], dict) for key in raw[k]]
    parent, key = data.draw(st.sampled_from(places))
    parent[key] = data.draw(json_values)
    try:
        read = Manifest.from_json(json.dumps(raw))
    except ManifestError:
        return
    assert Manifest.from_json(read.to_json()) == read


@pytest.mark.parametrize("task", [t for t in TASKS if t not in ("classification", "multilabel")])
def test_tasks_without_labels_need_none(task: str) -> None:
    threshold = 1.0 if task == "anomaly" else None
    outputs = OutputSpec(task, (), threshold)
    assert FULL.replace(task=task, outputs=outputs).outputs.labels == ()


def test_an_anomaly_model_needs_its_threshold() -> None:
    with pytest.raises(ManifestError, match=r"threshold is missing"):
        FULL.replace(task="anomaly", outputs=OutputSpec("anomaly"))


def fields(**raw: Any) -> Fields:
    return Fields(raw, "config", ConfigError)


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (Fields.text, 1),
        (Fields.integer, 1.5),
        (Fields.integer, True),
        (Fields.number, "1"),
        (Fields.number, float("inf")),
        (Fields.number, 10**400),
        (Fields.boolean, 1),
        (Fields.items, {}),
        (Fields.texts, [1]),
        (Fields.integers, [True]),
        (Fields.numbers, ["1"]),
        (Fields.numbers, [float("nan")]),
        (Fields.numbers, [10**400]),
        (Fields.child, []),
        (Fields.children, [1]),
    ],
)
def test_a_field_of_the_wrong_type_is_the_callers_kind_of_error(read: Any, value: Any) -> None:
    with pytest.raises(ConfigError, match=r"config\.key(\[0\])? is"):
        read(fields(key=value), "key")


def test_a_default_stands_in_for_what_is_absent() -> None:
    empty = fields()
    assert empty.text("a", default="x") == "x"
    assert empty.integer("b", default=3) == 3
    assert empty.number("c", default=1.5) == 1.5
    assert empty.boolean("d", default=True)
    assert empty.optional_number("e") is None
    assert empty.optional_child("f") is None
    assert empty.numbers("g") == ()
    assert empty.value("h") is None
    empty.finish()


def test_a_key_that_is_missing_names_one_that_is_near() -> None:
    with pytest.raises(ConfigError, match=r"config\.timeout_s is missing; .*'timout_s'"):
        fields(timout_s=3).number("timeout_s")
