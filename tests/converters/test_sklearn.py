"""Every estimator that is compiled answers on a device as it does in scikit-learn."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import (
    datasets,
    ensemble,
    linear_model,
    neural_network,
    pipeline,
    preprocessing,
    svm,
    tree,
)

from edgeml import Model
from edgeml.errors import ConversionError
from edgeml.manifest import Channel, InputSpec, OutputSpec, channels
from edgeml.runtime.graph import read_graph
from edgeml_converters import Conversion, Spec, convert
from edgeml_converters.lite import convert_saved_model, tensorflow
from edgeml_converters.measure import run_tflite
from edgeml_converters.schemes import SCHEMES
from edgeml_converters.sources import FloatModel, open_source
from edgeml_converters.sources.sklearn import linear
from tests.converters.sklearn_cases import CASES, CLASSES, Case, Data, Floats, fitted, load

DIGITS = tuple("0123456789")
# Each case on one of its data sets, in turns; benchmarks/convert_sklearn.py does all of them.
TURNS = [(case, case.on[i % len(case.on)]) for i, case in enumerate(CASES)]


def compiled(source: object, folder: Path) -> tuple[FloatModel, bytes]:
    """The model opened, and its float32 file."""
    model = open_source(source)
    model.save(folder)
    none = np.empty((0, *model.input_shape), np.float32)
    return model, convert_saved_model(folder, SCHEMES["float32"], "float", none)


@pytest.fixture(scope="module")
def digits() -> Data:
    return load("digits")


@pytest.fixture(scope="module")
def forest(digits: Data) -> Any:
    return ensemble.RandomForestClassifier(50, random_state=0).fit(digits.train, digits.target)


def digits_spec(outputs: OutputSpec | None = None) -> Spec:
    inputs = InputSpec((Channel("ink", "1/16"),), None, 8, 8, (8, 8, 1))
    return Spec("digits", 1, inputs, outputs or OutputSpec("classification", DIGITS))


def loaded(conversion: Conversion, folder: Path) -> Model:
    conversion.write(folder / "model.tflite")
    return Model.load(folder / "model.tflite")


def images(rows: Floats) -> Floats:
    return rows.reshape(-1, 8, 8, 1)


@pytest.mark.slow
@pytest.mark.parametrize(("case", "name"), TURNS, ids=[f"{c.name} on {n}" for c, n in TURNS])
def test_an_estimator_answers_on_the_device_as_in_scikit_learn(
    case: Case, name: str, tmp_path: Path
) -> None:
    data = load(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a model has not converged is no matter here
        estimator = fitted(case, data)
    model, tflite = compiled(estimator, tmp_path)
    outputs = run_tflite(tflite, data.held_out).outputs
    expected = model.predict(data.held_out)
    largest = float(np.abs(expected).max())
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=case.tolerance * largest)
    if name in CLASSES and hasattr(estimator, "predict"):
        classes = getattr(estimator, "classes_", np.arange(outputs.shape[1]))
        if outputs.shape[1] > 1:
            said = estimator.predict(data.held_out.astype(np.float64))
            assert (classes[outputs.argmax(1)] == said).all()
    operators = read_graph(tflite, name).operators
    assert not [one for one in operators if one.startswith(("Flex", "Custom"))]


def test_a_forest_becomes_a_bundle_that_gives_its_labels_and_its_probabilities(
    forest: Any, digits: Data, tmp_path: Path
) -> None:
    held_out = images(digits.held_out)
    conversion = convert(
        forest,
        images(digits.train),
        spec=digits_spec(),
        evaluation=(held_out, digits.truth),
        scheme="float32",
    )
    assert conversion.verdict.agreement == 1.0
    model = loaded(conversion, tmp_path)
    results = [model.predict(image) for image in held_out[:50]]
    proba = forest.predict_proba(digits.held_out[:50])
    assert [result.label for result in results] == [DIGITS[i] for i in proba.argmax(1)]
    np.testing.assert_allclose([result.outputs for result in results], proba, atol=1e-6)


def test_trees_are_refused_to_be_quantised_and_auto_says_so(forest: Any, digits: Data) -> None:
    windows = images(digits.train[:200])
    with pytest.raises(ConversionError, match=r"decision trees are tables.*--scheme float32"):
        convert(forest, windows, spec=digits_spec(), scheme="int8")
    conversion = convert(forest, windows, spec=digits_spec(), scheme="auto")
    assert conversion.chosen.scheme == "float32"
    others = [one for one in conversion.candidates if one.scheme != "float32"]
    assert others
    assert all("not for this model" in one.reason for one in others)


def test_a_model_without_trees_is_quantised_like_any_other(digits: Data) -> None:
    estimator = linear_model.LogisticRegression(max_iter=300).fit(digits.train, digits.target)
    conversion = convert(
        estimator,
        images(digits.train),
        spec=digits_spec(),
        evaluation=(images(digits.held_out), digits.truth),
        scheme="int8",
    )
    assert conversion.verdict.drop < 0.02
    assert conversion.verdict.agreement > 0.95


def test_an_isolation_forest_is_an_anomaly_model_with_the_threshold_that_it_names(
    digits: Data, tmp_path: Path
) -> None:
    estimator = ensemble.IsolationForest(n_estimators=20, contamination=0.1, random_state=0).fit(
        digits.train
    )
    threshold = -float(estimator.offset_)
    outputs = OutputSpec("anomaly", threshold=threshold)
    windows = images(digits.train[:300])
    conversion = convert(estimator, windows, spec=digits_spec(outputs), scheme="float32")
    assert any(f"its threshold is {threshold:.6g}" in one for one in conversion.warnings)
    model = loaded(conversion, tmp_path)
    labels = [model.predict(image).label for image in images(digits.held_out[:100])]
    unusual = estimator.predict(digits.held_out[:100]) == -1
    assert labels == ["anomaly" if one else "normal" for one in unusual]
    assert 0 < unusual.sum() < 100


def edges(thresholds: Any, features: Any, rows: Floats) -> Floats:
    """Rows in which one value lies on a threshold, or a step of float32 beside it."""
    made = []
    for i, (threshold, feature) in enumerate(zip(thresholds, features, strict=True)):
        near = np.float32(threshold)
        for value in (np.nextafter(near, -np.inf), near, np.nextafter(near, np.inf)):
            row = rows[i % len(rows)].copy()
            row[feature] = value
            made.append(row)
    return np.array(made, np.float32)


def agrees(estimator: Any, rows: Floats, folder: Path) -> None:
    model, tflite = compiled(estimator, folder)
    expected = model.predict(rows)
    # A tree's answers lie apart; one that went the other way differs by far more than this.
    atol = 1e-5 * float(np.abs(expected).max())
    np.testing.assert_allclose(run_tflite(tflite, rows).outputs, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("kind", ["tree", "histogram", "isolation"])
def test_values_on_a_threshold_go_where_float64_sends_them(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(0, 3, (400, 4))
    target = rows[:, 0] * rows[:, 1] + rng.normal(0, 1, 400)
    if kind == "histogram":
        estimator = ensemble.HistGradientBoostingRegressor(max_iter=5).fit(rows, target)
        nodes = np.concatenate([step[0].nodes for step in estimator._predictors])
        nodes = nodes[nodes["is_leaf"] == 0]
        thresholds, features = nodes["num_threshold"], nodes["feature_idx"]
    else:
        if kind == "tree":
            estimator = tree.DecisionTreeRegressor(random_state=0).fit(rows, target)
            members = [estimator]
        else:
            estimator = ensemble.IsolationForest(n_estimators=10, random_state=0).fit(rows)
            members = estimator.estimators_
        trees = [one.tree_ for one in members]
        thresholds = np.concatenate([one.threshold[one.feature >= 0] for one in trees])
        features = np.concatenate([one.feature[one.feature >= 0] for one in trees])
    # Rounded to the nearest, about half of them would decide otherwise.
    assert np.mean(thresholds.astype(np.float32) > thresholds) > 0.2
    agrees(estimator, edges(thresholds, features, rows.astype(np.float32)), tmp_path)


@pytest.mark.parametrize("histogram", [False, True], ids=["tree", "histogram"])
def test_scalers_in_front_of_trees_are_folded_so_that_no_rounding_of_theirs_differs(
    histogram: bool, tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    rows = (rng.normal(0, 1, (300, 3)) * [1e-3, 1, 1e4] + [5, 0, 1e5]).astype(np.float32)
    target = rows[:, 0].astype(np.float64) * 1e3 + rows[:, 2] / 1e4
    last: Any = tree.DecisionTreeRegressor(random_state=0)
    if histogram:
        last = ensemble.HistGradientBoostingRegressor(max_iter=5)
    scalers = [preprocessing.StandardScaler(), preprocessing.MinMaxScaler((-3, 5))]
    estimator = pipeline.make_pipeline(*scalers, last).fit(rows.astype(np.float64), target)
    # Rows between training values: where a rounded scaler would send some the wrong way.
    ordered = np.sort(rows, axis=0).astype(np.float64)
    middle = ((ordered[1:] + ordered[:-1]) / 2).astype(np.float32)
    around = [np.nextafter(middle, -np.inf), middle, np.nextafter(middle, np.inf)]
    many = np.concatenate(around).astype(np.float32)
    _, tflite = compiled(estimator, tmp_path)
    assert not {"SUB", "MUL"} & set(read_graph(tflite, "x").operators)
    agrees(estimator, many, tmp_path)


def test_missing_values_go_where_training_sent_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(400, 4)).astype(np.float32)
    target = rows[:, 0] + rows[:, 1]
    rows[rng.random(rows.shape) < 0.2] = np.nan
    for number, estimator in enumerate(
        (
            ensemble.HistGradientBoostingRegressor(max_iter=10),
            ensemble.RandomForestRegressor(5, random_state=0),
            tree.DecisionTreeRegressor(random_state=0),
        )
    ):
        agrees(estimator.fit(rows, target), rows, tmp_path / str(number))


def test_ties_among_votes_go_to_the_first_class_as_in_scikit_learn(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    rows = rng.integers(0, 3, (300, 3)).astype(np.float32)
    target = rng.integers(0, 4, 300)
    estimator = ensemble.ExtraTreesClassifier(4, random_state=0).fit(rows[:40], target[:40])
    proba = estimator.predict_proba(rows)
    tied = (proba == proba.max(1, keepdims=True)).sum(1) > 1
    assert tied.any()
    _, tflite = compiled(estimator, tmp_path)
    said = run_tflite(tflite, rows).outputs.argmax(1)
    whole = ~((proba * 4) % 1).any(1)  # votes of pure leaves
    assert (tied & whole).any()
    assert (said[whole] == estimator.predict(rows)[whole]).all()


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_a_polynomial_kernel_takes_products_below_zero(degree: int, tmp_path: Path) -> None:
    rows, target = datasets.load_wine(return_X_y=True)
    rows = preprocessing.scale(rows).astype(np.float32)
    agrees(svm.SVC(kernel="poly", degree=degree).fit(rows, target), rows, tmp_path)


@pytest.mark.parametrize("break_ties", [False, True])
def test_a_vote_that_three_classes_share_goes_where_predict_sends_it(
    break_ties: bool, tmp_path: Path
) -> None:
    angle = np.arange(3) * 2 * np.pi / 3
    corners = np.stack([np.cos(angle), np.sin(angle)], 1)
    rng = np.random.default_rng(4)
    target = rng.integers(0, 3, 150)
    rows = corners[target] + rng.normal(0, 0.8, (150, 2))
    machine = svm.SVC(kernel="sigmoid", gamma=0.3, break_ties=break_ties).fit(rows, target)
    everywhere = rng.normal(0, 3, (3000, 2)).astype(np.float32)
    votes = np.round(machine.decision_function(everywhere))
    assert ((votes == votes.max(1, keepdims=True)).sum(1) == 3).any()
    model, tflite = compiled(machine, tmp_path)
    outputs = run_tflite(tflite, everywhere).outputs
    np.testing.assert_allclose(outputs, model.predict(everywhere), atol=1e-4)
    assert (outputs.argmax(1) == machine.predict(everywhere.astype(np.float64))).all()


@pytest.mark.parametrize(
    "estimator",
    [linear_model.RidgeClassifier(), neural_network.MLPClassifier((4,), max_iter=9)],
    ids=lambda one: type(one).__name__,
)
def test_several_labels_at_once_are_a_multilabel_model(estimator: Any) -> None:
    rows = np.random.default_rng(3).normal(size=(60, 4)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nine rounds are too few, and enough here
        estimator.fit(rows, (rows[:, :3] > 0).astype(int))
    conversion = convert(estimator, rows, scheme="float32")
    with Model.load(conversion.bundle) as model:
        outputs = model.manifest.outputs
        assert (outputs.task, outputs.labels) == ("multilabel", ("0", "1", "2"))
        least = 0.5 if outputs.threshold is None else outputs.threshold
        said = np.array([result.outputs for result in model.predict_batch(rows)]) >= least
    np.testing.assert_array_equal(said, estimator.predict(rows) == 1)
    single = OutputSpec("classification", ("0", "1", "2"))
    spec = Spec("several", 1, InputSpec(channels(list("abcd")), None, 4, 4, (4,)), single)
    with pytest.raises(ConversionError, match='task should be "multilabel"'):
        convert(estimator, rows, spec=spec)


class _UntilOneSeven:
    """What a LogisticRegression was until 1.7, with the option that it has no more."""

    def __init__(self, multi_class: str = "auto", solver: str = "lbfgs") -> None:
        self.multi_class, self.solver = multi_class, solver

    def get_params(self) -> dict[str, str]:
        return vars(self)


@pytest.mark.parametrize(
    ("multi_class", "solver", "each"),
    [("ovr", "lbfgs", True), ("auto", "liblinear", True), ("auto", "lbfgs", False)],
)
def test_a_class_against_the_rest_has_a_sigmoid_of_its_own(
    multi_class: str, solver: str, each: bool
) -> None:
    rows = np.random.default_rng(3).normal(size=(60, 4)).astype(np.float32)
    estimator = linear_model.LogisticRegression().fit(rows, rows[:, :3].argmax(1))
    old = _UntilOneSeven(multi_class, solver)
    for name in ("coef_", "intercept_", "classes_"):
        setattr(old, name, getattr(estimator, name))
    made = linear.probabilities(old).build(tensorflow(), rows).numpy()
    scores = estimator.decision_function(rows)
    shares = 1 / (1 + np.exp(-scores)) if each else np.exp(scores)
    np.testing.assert_allclose(made, shares / shares.sum(1, keepdims=True), rtol=1e-4)


def test_a_regressor_of_zeros_and_ones_stays_one() -> None:
    """It says itself what it is, where a network with one output does not."""
    rows = np.linspace(0, 1, 40, dtype=np.float32)[:, np.newaxis]
    truth = (rows[:, 0] > 0.5).astype(int)
    estimator = tree.DecisionTreeRegressor().fit(rows, truth)
    assert convert(estimator, rows, labels=truth, scheme="float32").metric == "mse"
