"""Every estimator that is compiled, by name, and what to say of one that is not."""

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, Final

from edgeml.errors import ConversionError
from edgeml_converters.sources.sklearn import (
    bayes,
    boosting,
    forests,
    kmeans,
    linear,
    network,
    scaling,
    svm,
)
from edgeml_converters.sources.sklearn.compiled import Head, Stage
from edgeml_converters.sources.sklearn.folding import Fronted

_Head = Callable[[Any], Head]
_Trees = Callable[[Any, tuple[Stage, ...]], Fronted]

TRANSFORMERS: Final[Mapping[str, Callable[[Any], Stage]]] = MappingProxyType(
    {
        "StandardScaler": scaling.standard,
        "MinMaxScaler": scaling.min_max,
        "MaxAbsScaler": scaling.max_abs,
        "RobustScaler": scaling.robust,
        "Normalizer": scaling.normalizer,
        "PCA": scaling.pca,
        "TruncatedSVD": scaling.truncated_svd,
        **dict.fromkeys(
            ("VarianceThreshold", "SelectKBest", "SelectPercentile", "SelectFromModel", "RFE"),
            scaling.selector,
        ),
    }
)

TREES: Final[Mapping[str, _Trees]] = MappingProxyType(
    {
        "DecisionTreeClassifier": forests.tree_classifier,
        "DecisionTreeRegressor": forests.tree_regressor,
        "ExtraTreeClassifier": forests.tree_classifier,
        "ExtraTreeRegressor": forests.tree_regressor,
        "RandomForestClassifier": forests.forest_classifier,
        "RandomForestRegressor": forests.forest_regressor,
        "ExtraTreesClassifier": forests.forest_classifier,
        "ExtraTreesRegressor": forests.forest_regressor,
        "GradientBoostingClassifier": boosting.gradient_boosting,
        "GradientBoostingRegressor": boosting.gradient_boosting,
        "HistGradientBoostingClassifier": boosting.hist_gradient_boosting,
        "HistGradientBoostingRegressor": boosting.hist_gradient_boosting,
        "IsolationForest": forests.isolation_forest,
    }
)

_LINEAR_REGRESSORS: Final = (
    *("LinearRegression", "Ridge", "RidgeCV", "Lasso", "LassoCV", "ElasticNet", "ElasticNetCV"),
    *("Lars", "LarsCV", "LassoLars", "LassoLarsCV", "LassoLarsIC", "BayesianRidge"),
    *("ARDRegression", "HuberRegressor", "TheilSenRegressor", "QuantileRegressor"),
    *("OrthogonalMatchingPursuit", "OrthogonalMatchingPursuitCV", "SGDRegressor"),
    *("MultiTaskLasso", "MultiTaskLassoCV", "MultiTaskElasticNet", "MultiTaskElasticNetCV"),
    "LinearSVR",
)

PREDICTORS: Final[Mapping[str, _Head]] = MappingProxyType(
    {
        **dict.fromkeys(_LINEAR_REGRESSORS, linear.regressor),
        **dict.fromkeys(
            ("PoissonRegressor", "GammaRegressor", "TweedieRegressor"), linear.log_regressor
        ),
        **dict.fromkeys(
            ("LogisticRegression", "LogisticRegressionCV", "LinearDiscriminantAnalysis"),
            linear.probabilities,
        ),
        **dict.fromkeys(
            ("RidgeClassifier", "RidgeClassifierCV", "Perceptron", "LinearSVC"), linear.decision
        ),
        "SGDClassifier": linear.stochastic,
        "SVC": svm.classifier,
        "NuSVC": svm.classifier,
        "SVR": svm.regressor,
        "NuSVR": svm.regressor,
        "OneClassSVM": svm.one_class,
        "KMeans": kmeans.kmeans,
        "MiniBatchKMeans": kmeans.kmeans,
        "GaussianNB": bayes.gaussian,
        "MultinomialNB": bayes.multinomial,
        "ComplementNB": bayes.complement,
        "BernoulliNB": bayes.bernoulli,
        "MLPClassifier": network.classifier,
        "MLPRegressor": network.regressor,
    }
)

_INSTEAD: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "neighbors": ("SVC", "SVR", "RandomForestClassifier", "RandomForestRegressor"),
        "gaussian_process": ("SVC", "SVR", "MLPRegressor"),
        "cluster": ("KMeans", "MiniBatchKMeans"),
        "mixture": ("KMeans", "GaussianNB"),
        "covariance": ("IsolationForest", "OneClassSVM"),
        "decomposition": ("PCA", "TruncatedSVD"),
        "random_projection": ("PCA", "TruncatedSVD"),
        "manifold": ("PCA", "TruncatedSVD"),
        "calibration": ("LogisticRegression", "RandomForestClassifier"),
        "discriminant_analysis": ("LinearDiscriminantAnalysis", "GaussianNB"),
    }
)
"""What does the same work, for those whose names do not say so."""


def unsupported(estimator: Any) -> ConversionError:
    """An estimator that is not compiled, with those nearest to it."""
    kind = type(estimator)
    name, module = kind.__name__, kind.__module__
    if module.split(".")[0] != "sklearn":
        base = next((one.__name__ for one in kind.__mro__ if one.__name__ in known()), None)
        reason = (
            f"it derives from {base} and may predict differently; give a {base} itself"
            if base
            else "only scikit-learn's own estimators are compiled"
        )
        return ConversionError(f"{module}.{name} is not compiled: {reason}")
    near = _nearest(name, module)
    return ConversionError(f"{name} is not compiled; the nearest that are: {', '.join(near)}")


def known() -> tuple[str, ...]:
    """The name of everything that is compiled; a Pipeline of them is too."""
    return (*TRANSFORMERS, *PREDICTORS, *TREES)


def _nearest(name: str, module: str) -> tuple[str, ...]:
    field = module.split(".")[1] if "." in module else ""
    if field in _INSTEAD:
        return _INSTEAD[field]
    kinds = ("Classifier", "Regressor", "Scaler", "Transformer")
    ending = next((kind for kind in kinds if name.endswith(kind)), None)
    among: Iterable[str] = known()
    if ending in ("Classifier", "Regressor"):
        among = [one for one in (*TREES, *PREDICTORS) if one.endswith(ending)]
    if field == "preprocessing":
        among = [one for one in TRANSFORMERS if one.endswith(("Scaler", "Normalizer"))]
    return tuple(get_close_matches(name, list(among), n=3, cutoff=0.0))
