"""Every kind of estimator that is compiled, on the data sets that scikit-learn carries.

Tests hold each to scikit-learn; benchmarks/convert_sklearn.py times each.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn import (
    cluster,
    datasets,
    decomposition,
    ensemble,
    feature_selection,
    linear_model,
    naive_bayes,
    neural_network,
    pipeline,
    preprocessing,
    svm,
    tree,
)

Floats = npt.NDArray[np.float32]
Wide = npt.NDArray[np.float64]

DATASETS: Final[Mapping[str, Callable[..., Any]]] = {
    "digits": datasets.load_digits,
    "wine": datasets.load_wine,
    "breast cancer": datasets.load_breast_cancer,
    "diabetes": datasets.load_diabetes,
}
CLASSES: Final = ("digits", "wine", "breast cancer")
VALUES: Final = ("diabetes",)
ALL: Final = (*CLASSES, *VALUES)


@dataclass(frozen=True)
class Data:
    """Rows to train on and rows held out, as float32, since a device has nothing wider."""

    train: Floats
    target: npt.NDArray[Any]
    held_out: Floats
    truth: npt.NDArray[Any]


def load(name: str) -> Data:
    """A data set, every third row of it held out."""
    rows, target = DATASETS[name](return_X_y=True)
    rows = rows.astype(np.float32)
    held = np.arange(len(rows)) % 3 == 0
    return Data(rows[~held], target[~held], rows[held], target[held])


@dataclass(frozen=True)
class Case:
    """An estimator, and how near its float32 graph stays to it.

    Attributes:
        name: of the case.
        make: an unfitted one.
        on: data sets.
        tolerance: of the outputs, as a share of the largest.
    """

    name: str
    make: Callable[[], Any]
    on: tuple[str, ...]
    tolerance: float = 1e-5


def scaled(estimator: Any, scaler: Any = None) -> Any:
    """Behind a scaler, as such models are trained."""
    return pipeline.make_pipeline(scaler or preprocessing.StandardScaler(), estimator)


def _boosting(kind: Any, **options: Any) -> Callable[[], Any]:
    return lambda: kind(random_state=0, **options)


CASES: Final = (
    # linear
    Case("LinearRegression", linear_model.LinearRegression, VALUES),
    Case("Ridge", lambda: scaled(linear_model.Ridge()), VALUES),
    Case("Lasso", lambda: linear_model.Lasso(0.1), VALUES),
    Case("ElasticNet", lambda: linear_model.ElasticNet(0.01), VALUES),
    Case("BayesianRidge", linear_model.BayesianRidge, VALUES),
    Case("HuberRegressor", lambda: scaled(linear_model.HuberRegressor(max_iter=1000)), VALUES),
    Case("SGDRegressor", lambda: scaled(linear_model.SGDRegressor(random_state=0)), VALUES),
    Case("PoissonRegressor", lambda: scaled(linear_model.PoissonRegressor()), VALUES),
    Case(
        "LogisticRegression", lambda: scaled(linear_model.LogisticRegression(max_iter=500)), CLASSES
    ),
    Case("RidgeClassifier", lambda: scaled(linear_model.RidgeClassifier()), CLASSES),
    Case(
        "SGDClassifier",
        lambda: scaled(linear_model.SGDClassifier(loss="log_loss", random_state=0)),
        CLASSES,
        1e-4,
    ),
    Case("Perceptron", lambda: scaled(linear_model.Perceptron(random_state=0)), CLASSES),
    # support vector machines
    Case("LinearSVC", lambda: scaled(svm.LinearSVC(random_state=0)), CLASSES),
    Case("LinearSVR", lambda: scaled(svm.LinearSVR(random_state=0, max_iter=20_000)), VALUES),
    Case("SVC linear", lambda: scaled(svm.SVC(kernel="linear")), CLASSES),
    Case("SVC rbf", lambda: scaled(svm.SVC()), CLASSES),
    Case("SVC rbf, not scaled", svm.SVC, CLASSES),
    Case("SVC poly", lambda: scaled(svm.SVC(kernel="poly", coef0=1)), CLASSES),
    Case("SVC sigmoid", lambda: scaled(svm.SVC(kernel="sigmoid")), CLASSES),
    Case("NuSVC", lambda: scaled(svm.NuSVC(nu=0.1)), CLASSES),
    Case("SVR linear", lambda: scaled(svm.SVR(kernel="linear")), VALUES),
    Case("SVR rbf", lambda: scaled(svm.SVR(C=100)), VALUES),
    # neighbourhoods and likelihoods
    Case("KMeans", lambda: scaled(cluster.KMeans(8, n_init=2, random_state=0)), ALL),
    Case("MiniBatchKMeans", lambda: cluster.MiniBatchKMeans(8, n_init=2, random_state=0), ALL),
    Case("GaussianNB", lambda: naive_bayes.GaussianNB(var_smoothing=1e-6), CLASSES, 1e-3),
    Case("MultinomialNB", naive_bayes.MultinomialNB, CLASSES, 1e-3),
    Case("ComplementNB", naive_bayes.ComplementNB, CLASSES, 1e-3),
    Case("BernoulliNB", lambda: naive_bayes.BernoulliNB(binarize=7.3), CLASSES, 1e-4),
    # networks
    Case(
        "MLPClassifier",
        lambda: scaled(neural_network.MLPClassifier((32, 16), max_iter=100, random_state=0)),
        CLASSES,
    ),
    Case(
        "MLPRegressor",
        lambda: scaled(
            neural_network.MLPRegressor(
                hidden_layer_sizes=(32,), activation="tanh", max_iter=200, random_state=0
            )
        ),
        VALUES,
    ),
    # projections and scalers
    Case("PCA", lambda: scaled(decomposition.PCA(5)), ALL),
    Case("PCA whitened", lambda: decomposition.PCA(5, whiten=True), ALL),
    Case("StandardScaler", preprocessing.StandardScaler, ALL),
    Case("MinMaxScaler", lambda: preprocessing.MinMaxScaler(clip=True), ALL),
    Case("MaxAbsScaler", preprocessing.MaxAbsScaler, ALL),
    Case("RobustScaler", preprocessing.RobustScaler, ALL),
    Case("Normalizer", preprocessing.Normalizer, ALL),
    # trees
    Case("DecisionTreeClassifier", _boosting(tree.DecisionTreeClassifier), CLASSES),
    Case("DecisionTreeRegressor", _boosting(tree.DecisionTreeRegressor), VALUES),
    Case(
        "RandomForestClassifier",
        _boosting(ensemble.RandomForestClassifier, n_estimators=50),
        CLASSES,
    ),
    Case("RandomForestRegressor", _boosting(ensemble.RandomForestRegressor), VALUES),
    Case(
        "ExtraTreesClassifier", _boosting(ensemble.ExtraTreesClassifier, n_estimators=50), CLASSES
    ),
    Case("ExtraTreesRegressor", _boosting(ensemble.ExtraTreesRegressor), VALUES),
    Case(
        "GradientBoostingClassifier",
        _boosting(ensemble.GradientBoostingClassifier, n_estimators=10),
        CLASSES,
    ),
    Case("GradientBoostingRegressor", _boosting(ensemble.GradientBoostingRegressor), VALUES),
    Case(
        "HistGradientBoostingClassifier",
        _boosting(ensemble.HistGradientBoostingClassifier, max_iter=8, max_leaf_nodes=15),
        CLASSES,
    ),
    Case(
        "HistGradientBoostingRegressor",
        _boosting(ensemble.HistGradientBoostingRegressor, max_iter=30),
        VALUES,
    ),
    Case("IsolationForest", _boosting(ensemble.IsolationForest), ALL),
    # pipelines of these
    Case(
        "scalers in front of a forest",
        lambda: pipeline.make_pipeline(
            preprocessing.RobustScaler(),
            feature_selection.SelectKBest(feature_selection.f_classif, k=8),
            preprocessing.MinMaxScaler((-1, 1)),
            ensemble.RandomForestClassifier(20, random_state=0),
        ),
        CLASSES,
    ),
    Case(
        "a scaler in front of histogram boosting",
        lambda: scaled(ensemble.HistGradientBoostingRegressor(max_iter=10, random_state=0)),
        VALUES,
    ),
    Case(
        "a projection in front of an SVM",
        lambda: pipeline.make_pipeline(
            preprocessing.StandardScaler(), decomposition.PCA(8), svm.SVC()
        ),
        CLASSES,
    ),
    Case(
        "a projection in front of a forest",
        lambda: pipeline.make_pipeline(
            preprocessing.StandardScaler(),
            decomposition.PCA(6),
            ensemble.ExtraTreesClassifier(20, random_state=0),
        ),
        CLASSES,
    ),
)


def fitted(case: Case, data: Data) -> Any:
    """The case's estimator, trained in float64 as people do."""
    return case.make().fit(data.train.astype(np.float64), data.target)
