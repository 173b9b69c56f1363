"""Files with estimators: skops loads safely, pickles by consent, refusals say what to do."""

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import skops.io
from sklearn import (
    calibration,
    datasets,
    ensemble,
    linear_model,
    neighbors,
    pipeline,
    preprocessing,
    svm,
)
from sklearn.model_selection import GridSearchCV

from edgeml.cli.main import main
from edgeml.errors import ConversionError
from edgeml.manifest import Channel, InputSpec, OutputSpec
from edgeml_converters import Spec, convert
from edgeml_converters.sources import open_source
from edgeml_converters.sources.sklearn.files import SUFFIXES

SPEC = """
name = "wine"

[input]
window = 1
channels = ["CHANNELS"]

[output]
task = "classification"
labels = ["barolo", "grignolino", "barbera"]
"""
LABELS = ("barolo", "grignolino", "barbera")


@pytest.fixture(scope="module")
def wine() -> tuple[Any, Any]:
    rows, target = datasets.load_wine(return_X_y=True)
    return rows.astype(np.float32), target


@pytest.fixture(scope="module")
def forest(wine: Any) -> Any:
    chain = pipeline.make_pipeline(
        preprocessing.StandardScaler(), ensemble.RandomForestClassifier(10, random_state=0)
    )
    return chain.fit(wine[0].astype(np.float64), wine[1])


def spec(labels: tuple[str, ...] = LABELS, columns: int = 13) -> Spec:
    """One row of so many columns is a window of one sample."""
    channels = tuple(Channel(f"assay_{i}", "") for i in range(columns))
    inputs = InputSpec(channels, None, 1, 1, (1, columns))
    return Spec("wine", 1, inputs, OutputSpec("classification", labels))


def windows(wine: Any) -> Any:
    return wine[0][:, np.newaxis, :]


def saved(estimator: Any, suffix: str, folder: Path) -> Path:
    path = folder / f"model{suffix}"
    if suffix == ".skops":
        skops.io.dump(estimator, path)
    elif suffix == ".joblib":
        joblib.dump(estimator, path)
    else:
        path.write_bytes(pickle.dumps(estimator))
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_way_to_save_an_estimator_gives_the_same_model(
    suffix: str, forest: Any, wine: Any, tmp_path: Path
) -> None:
    path = saved(forest, suffix, tmp_path)
    made = [
        convert(source, windows(wine), spec=spec(), scheme="float32", trust_pickle=True).tflite
        for source in (forest, path)
    ]
    assert made[0] == made[1]


@pytest.mark.parametrize("suffix", [one for one in SUFFIXES if one != ".skops"])
def test_a_pickle_is_not_even_opened_without_consent(suffix: str, tmp_path: Path) -> None:
    class Exploit:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "owned",))

    path = tmp_path / f"model{suffix}"
    path.write_bytes(pickle.dumps(Exploit()))
    with pytest.raises(ConversionError, match=r"a program that loading executes.*--trust-pickle"):
        open_source(path)
    assert not (tmp_path / "owned").exists()


@pytest.mark.slow
def test_the_command_converts_a_file_and_asks_for_consent(
    forest: Any, wine: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = saved(forest, ".joblib", tmp_path)
    channels = ", ".join(f'{{ name = "assay_{i}" }}' for i in range(13))
    (tmp_path / "spec.toml").write_text(SPEC.replace('"CHANNELS"', channels), "utf-8")
    np.savez(tmp_path / "data.npz", windows=windows(wine), labels=wine[1])
    options = ["convert", str(path), "--calibration", str(tmp_path / "data.npz")]
    options += ["--spec", str(tmp_path / "spec.toml"), "--scheme", "float32", "--json"]
    assert main(options) == ConversionError.exit_code
    assert "--trust-pickle" in capfd.readouterr().err
    assert not path.with_suffix(".tflite").exists()
    assert main([*options, "--trust-pickle"]) == 0
    printed = json.loads(capfd.readouterr().out)
    assert printed["candidates"][0]["agreement"] == 1.0
    assert path.with_suffix(".tflite").exists()


def test_a_type_that_is_not_trusted_is_named_and_not_built(tmp_path: Path) -> None:
    path = tmp_path / "model.skops"
    skops.io.dump(preprocessing.FunctionTransformer(Path.touch), path)
    with pytest.raises(ConversionError, match=r"it holds pathlib.* not trusted to load"):
        open_source(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_object_that_is_no_estimator_is_named(suffix: str, tmp_path: Path) -> None:
    path = saved({"weights": [1, 2]}, suffix, tmp_path)
    with pytest.raises(ConversionError, match="holds a dict, which is no scikit-learn estimator"):
        open_source(path, trust_pickle=True)


def rewritten(path: Path, change: Any) -> None:
    """A skops file with each member changed by `change(name, content)`."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, change(name, content))


def test_trees_that_lead_out_of_themselves_are_refused_before_anything_walks_them(
    forest: Any, tmp_path: Path
) -> None:
    """scikit-learn would read memory that is not the tree's; here the file is refused."""
    path = saved(forest, ".skops", tmp_path)

    def broken(name: str, content: bytes) -> bytes:
        if not name.endswith(".npy"):
            return content
        array = np.load(io.BytesIO(content))
        if array.dtype.names and "left_child" in array.dtype.names:
            array["right_child"][array["right_child"] > 0] = 1 << 40
        raw = io.BytesIO()
        np.save(raw, array)
        return raw.getvalue()

    rewritten(path, broken)
    with pytest.raises(ConversionError, match="out of range"):
        open_source(path)


def test_an_array_that_claims_more_than_it_holds_is_refused_unallocated(
    forest: Any, tmp_path: Path
) -> None:
    path = saved(forest, ".skops", tmp_path)
    huge = io.BytesIO()
    formats: Any = np.lib.format
    header = {"descr": "<f8", "fortran_order": False, "shape": (1 << 50,)}
    formats.write_array_header_1_0(huge, header)
    rewritten(path, lambda name, old: huge.getvalue() if name.endswith(".npy") else old)
    with pytest.raises(ConversionError, match=r"claims \[1125899906842624\]"):
        open_source(path)


@pytest.mark.parametrize(
    ("estimator", "said"),
    [
        (neighbors.KNeighborsClassifier(), "KNeighborsClassifier is not compiled.*SVC"),
        (ensemble.AdaBoostClassifier(), "AdaBoostClassifier is not compiled.*BoostingClassifier"),
        (preprocessing.QuantileTransformer(n_quantiles=9), "nearest.*Scaler"),
        (svm.SVC(kernel=lambda a, b: a @ b.T), "has the kernel .*compiled are linear, rbf"),
        (svm.SVC(decision_function_shape="ovo"), "set it to 'ovr'"),
        (
            ensemble.GradientBoostingClassifier(n_estimators=2, init=svm.SVC(probability=True)),
            "starts from a SVC",
        ),
        (
            ensemble.HistGradientBoostingClassifier(max_iter=2, categorical_features=[0]),
            "categories.*categorical_features=None",
        ),
    ],
    ids=lambda x: type(x).__name__ if not isinstance(x, str) else "",
)
def test_what_is_not_compiled_is_named_with_what_would_be(
    estimator: Any, said: str, wine: Any
) -> None:
    rows = wine[0].copy()
    rows[:, 0] = np.round(rows[:, 0])
    with pytest.raises(ConversionError, match=said):
        open_source(estimator.fit(rows, wine[1] > 0 if "starts" in said else wine[1]))


def test_a_model_that_was_never_fitted_is_refused() -> None:
    with pytest.raises(ConversionError, match="SVC is not fitted; call fit"):
        open_source(pipeline.make_pipeline(preprocessing.Normalizer(), svm.SVC()))


def test_a_class_derived_from_an_estimator_is_not_taken_for_it(wine: Any) -> None:
    class Mine(linear_model.LogisticRegression):  # type: ignore[misc]
        def predict_proba(self, rows: Any) -> Any:
            return super().predict_proba(rows)[:, ::-1]

    with pytest.raises(ConversionError, match="derives from LogisticRegression"):
        open_source(Mine(max_iter=5000).fit(*wine))


def test_several_answers_at_once_are_refused_for_classes(wine: Any) -> None:
    two = np.stack([wine[1], wine[1]], 1)
    with pytest.raises(ConversionError, match="answers 2 questions at once"):
        open_source(ensemble.RandomForestClassifier(2).fit(wine[0], two))


def test_the_best_of_a_search_is_taken(wine: Any) -> None:
    chain = pipeline.make_pipeline(preprocessing.StandardScaler(), svm.SVC())
    search = GridSearchCV(chain, {"svc__C": [1, 3]}, cv=2).fit(*wine)
    model = open_source(search)
    assert (model.predict(wine[0]).argmax(1) == search.predict(wine[0])).all()


def test_labels_in_another_order_than_the_classes_are_refused(forest: Any, wine: Any) -> None:
    named = ensemble.RandomForestClassifier(3).fit(wine[0], np.array(LABELS)[wine[1]])
    with pytest.raises(ConversionError, match=r"another order.*barbera, barolo, grignolino"):
        convert(named, windows(wine), spec=spec(), scheme="float32")
    convert(named, windows(wine), spec=spec(tuple(sorted(LABELS))), scheme="float32")
    assert forest.classes_.dtype.kind == "i"


def test_an_estimator_trained_on_another_number_of_columns_is_refused(
    forest: Any, wine: Any
) -> None:
    with pytest.raises(ConversionError, match=r"into \[1, 12\], but the model takes \[13\]"):
        convert(forest, windows(wine)[..., :12], spec=spec(columns=12), scheme="float32")


def test_what_was_saved_by_another_version_is_said(forest: Any, tmp_path: Path) -> None:
    raw = pickle.dumps(forest)
    import sklearn

    version = sklearn.__version__.encode()
    older = b"0" + version[1:] if version[:1] != b"0" else b"1" + version[1:]
    (tmp_path / "old.pkl").write_bytes(raw.replace(version, older))
    model = open_source(tmp_path / "old.pkl", trust_pickle=True)
    assert any("compare its score" in note for note in model.notes)


def test_a_probability_that_is_not_compiled_is_said(wine: Any) -> None:
    with pytest.warns(FutureWarning):
        machine = svm.SVC(probability=True).fit(*wine)
    assert any("not predict_proba" in note for note in open_source(machine).notes)
    with pytest.raises(ConversionError, match="CalibratedClassifierCV is not compiled"):
        open_source(calibration.CalibratedClassifierCV(svm.SVC(), ensemble=False).fit(*wine))
