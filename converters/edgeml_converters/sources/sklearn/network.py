"""Multilayer perceptrons."""

from typing import Any, Final

import numpy as np

from edgeml.errors import ConversionError
from edgeml_converters.sources.sklearn.compiled import (
    Build,
    Head,
    Tensor,
    as_is,
    chained,
    dense,
    names,
    several_labels,
    softmax,
    two_logits,
)

ACTIVATIONS: Final[dict[str, Build]] = {
    "identity": lambda _, x: x,
    "relu": lambda tf, x: tf.nn.relu(x),
    "tanh": lambda tf, x: tf.tanh(x),
    "logistic": lambda tf, x: tf.sigmoid(x),
    "softmax": softmax,
}


def classifier(estimator: Any) -> Head:
    """MLPClassifier, for classes or for several labels at once."""
    kernel, bias = estimator.coefs_[-1], estimator.intercepts_[-1]
    hidden, last = _hidden(estimator), estimator.out_activation_
    labels = names(estimator)
    if last == "logistic" and len(labels) == 2 and np.shape(kernel)[1] == 1:
        kernel, bias = two_logits(kernel, bias)
        last = "softmax"
    build = chained(hidden, dense(kernel, bias), _activation(last))
    task = "multilabel" if several_labels(estimator) else ""
    return Head("predict_proba", np.shape(kernel)[1], build, as_is, labels, task=task)


def regressor(estimator: Any) -> Head:
    """MLPRegressor."""
    kernel, bias = estimator.coefs_[-1], estimator.intercepts_[-1]
    build = chained(_hidden(estimator), dense(kernel, bias), _activation(estimator.out_activation_))
    return Head("predict", np.shape(kernel)[1], build, as_is)


def _hidden(estimator: Any) -> Build:
    activate = _activation(estimator.activation)
    layers = [
        dense(kernel, bias)
        for kernel, bias in zip(estimator.coefs_[:-1], estimator.intercepts_[:-1], strict=True)
    ]

    def build(tf: Any, x: Tensor) -> Tensor:
        for layer in layers:
            x = activate(tf, layer(tf, x))
        return x

    return build


def _activation(name: str) -> Build:
    if name not in ACTIVATIONS:
        raise ConversionError(f"an activation {name!r} is none of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]
