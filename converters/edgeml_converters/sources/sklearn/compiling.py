"""From an estimator or a pipeline to one head with the transformers in front of it."""

from dataclasses import replace
from typing import Any, NamedTuple

from edgeml.errors import ConversionError
from edgeml_converters.sources.sklearn.compiled import Head, Stage, as_is, chained
from edgeml_converters.sources.sklearn.table import PREDICTORS, TRANSFORMERS, TREES, unsupported

_SEARCHES = ("GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV")


class Compiled(NamedTuple):
    """An estimator as a graph.

    Attributes:
        estimator: whose `head.method` is the reference; a search's best one.
        features: how many columns it takes.
        head: the whole graph, transformers included.
        mixed: whether a transformer that mixes columns stands in front of trees.
    """

    estimator: Any
    features: int
    head: Head
    mixed: bool


def compile_estimator(estimator: Any) -> Compiled:
    """Compile a fitted estimator or pipeline.

    Raises:
        ConversionError: one that is not supported (it is named), or not fitted.
    """
    estimator = _best(estimator)
    steps = _steps(estimator)
    if not steps:
        raise ConversionError("the pipeline has no step that does anything")
    for step in steps:
        _check_fitted(step)
    try:
        return _compiled(estimator, steps)
    except (AttributeError, TypeError, ValueError, LookupError, ArithmeticError) as exc:
        if isinstance(exc, ConversionError):
            raise
        text = " ".join(str(exc).split())[:200]
        raise ConversionError(
            f"{type(steps[-1]).__name__} is not as this scikit-learn makes it ({text}); was it "
            "saved by another version, or damaged? Load it where it was trained and save it again"
        ) from exc


def _compiled(estimator: Any, steps: list[Any]) -> Compiled:
    stages = tuple(_stage(step) for step in steps[:-1])
    last = steps[-1]
    name = _name(last)
    if name in TREES:
        head, stages = TREES[name](last, stages)
    elif name in PREDICTORS:
        head = PREDICTORS[name](last)
    elif name in TRANSFORMERS:
        stage = TRANSFORMERS[name](last)
        head = Head("transform", stage.width, stage.build, as_is, task="embedding")
    else:
        raise unsupported(last)
    whole = _in_front_of(stages, head)
    features = int(steps[0].n_features_in_)
    return Compiled(estimator, features, whole, mixed=head.trees and bool(stages))


def _in_front_of(stages: tuple[Stage, ...], head: Head) -> Head:
    return replace(head, build=chained(*(stage.build for stage in stages), head.build))


def _best(estimator: Any) -> Any:
    if type(estimator).__name__ in _SEARCHES and _is_own(estimator):
        if not hasattr(estimator, "best_estimator_"):
            raise ConversionError(
                f"{type(estimator).__name__} has no best estimator; fit it with refit=True"
            )
        return estimator.best_estimator_
    return estimator


def _steps(estimator: Any) -> list[Any]:
    """The steps of a pipeline, and of pipelines in it, that do anything."""
    if type(estimator).__name__ != "Pipeline" or not _is_own(estimator):
        return [estimator]
    steps = []
    for _, step in estimator.steps:
        if step is not None and not isinstance(step, str):
            steps.extend(_steps(step))
    return steps


def _stage(step: Any) -> Stage:
    name = _name(step)
    if name not in TRANSFORMERS:
        raise unsupported(step)
    return TRANSFORMERS[name](step)


def _name(estimator: Any) -> str:
    """Its class, if that is scikit-learn's own; a class derived from it may do anything."""
    return type(estimator).__name__ if _is_own(estimator) else ""


def _is_own(estimator: Any) -> bool:
    return type(estimator).__module__.split(".")[0] == "sklearn"


def _check_fitted(step: Any) -> None:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    if isinstance(step, type):
        raise ConversionError(f"{step.__name__} is a class; give a fitted object of it")
    if _name(step) in (*TRANSFORMERS, *PREDICTORS, *TREES):
        try:
            check_is_fitted(step)
        except (NotFittedError, TypeError) as exc:
            raise ConversionError(
                f"{type(step).__name__} is not fitted; call fit() with the training data first"
            ) from exc
