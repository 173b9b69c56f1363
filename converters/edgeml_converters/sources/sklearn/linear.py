"""Linear models: one product, and what turns it into an answer."""

from dataclasses import replace
from typing import Any

import numpy as np

from edgeml_converters.sources.sklearn.compiled import (
    Head,
    Tensor,
    Wide,
    as_is,
    both_sides,
    chained,
    dense,
    names,
    several_labels,
    softmax,
    two_logits,
)


def regressor(estimator: Any) -> Head:
    """What predicts x times coef_ plus intercept_."""
    kernel, bias = _weights(estimator)
    return Head("predict", kernel.shape[1], dense(kernel, bias), as_is)


def log_regressor(estimator: Any) -> Head:
    """What predicts the exponential of that: Poisson and Gamma; Tweedie where its link is log."""
    kernel, bias = _weights(estimator)
    product = dense(kernel, bias)
    link = type(estimator._base_loss.link).__name__  # noqa: SLF001
    if link == "IdentityLink":
        return Head("predict", 1, product, as_is)
    return Head("predict", 1, chained(product, lambda tf, x: tf.exp(x)), as_is)


def probabilities(estimator: Any) -> Head:
    """LogisticRegression and LinearDiscriminantAnalysis: the softmax of the product."""
    kernel, bias = _weights(estimator)
    if kernel.shape[1] == 1:
        kernel, bias = two_logits(kernel, bias)
    elif _one_against_rest(estimator):
        return _shares(estimator)
    build = chained(dense(kernel, bias), softmax)
    return Head("predict_proba", kernel.shape[1], build, as_is, names(estimator))


def decision(estimator: Any) -> Head:
    """LinearSVC, RidgeClassifier and their like: the product itself, the largest wins."""
    kernel, bias = _weights(estimator)
    if kernel.shape[1] == 1:
        kernel, bias = np.hstack([-kernel, kernel]), np.hstack([-bias, bias])
    build, labels = dense(kernel, bias), names(estimator)
    if several_labels(estimator):
        head = Head("decision_function", len(labels), build, as_is, labels)
        return replace(head, task="multilabel", threshold=0.0)
    return Head("decision_function", kernel.shape[1], build, both_sides, labels)


def stochastic(estimator: Any) -> Head:
    """SGDClassifier: probabilities where its loss is the logarithmic one, else the product."""
    if estimator.loss != "log_loss":
        return decision(estimator)
    if len(estimator.classes_) == 2:
        return probabilities(estimator)
    return _shares(estimator)


def _one_against_rest(estimator: Any) -> bool:
    """Whether each class of a LogisticRegression has its own sigmoid, as until scikit-learn 1.7.

    What an old file says of that counts only where the scikit-learn that reads it does as it says.
    """
    if "multi_class" not in type(estimator)().get_params():
        return False
    said, solver = estimator.multi_class, estimator.solver
    return said == "ovr" or (said in ("auto", "deprecated") and solver == "liblinear")


def _shares(estimator: Any) -> Head:
    """Each class's sigmoid, divided by their sum."""
    kernel, bias = _weights(estimator)
    product = dense(kernel, bias)

    def build(tf: Any, x: Tensor) -> Tensor:
        each = tf.sigmoid(product(tf, x))
        return each / tf.reduce_sum(each, 1, keepdims=True)

    return Head("predict_proba", kernel.shape[1], build, as_is, names(estimator))


def _weights(estimator: Any) -> tuple[Wide, Wide]:
    """(inputs, outputs) and (outputs,), whichever way the estimator keeps them."""
    coefficients: Any = estimator.coef_
    if hasattr(coefficients, "toarray"):
        coefficients = coefficients.toarray()
    kernel = np.atleast_2d(np.asarray(coefficients, np.float64)).T
    bias = np.broadcast_to(np.asarray(estimator.intercept_, np.float64), kernel.shape[1:])
    return kernel, bias.copy()
