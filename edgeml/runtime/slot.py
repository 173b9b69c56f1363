"""The place where a device keeps the model it serves with, so that another can take it.

The new model is loaded, checked and warmed up while the old one serves; then
one assignment between two windows changes them over. A window is served by one
model whole: `predict` holds the slot while it computes.
"""

import threading
from collections.abc import Callable

from edgeml.arrays import ArrayLike
from edgeml.errors import BackendError
from edgeml.result import Result
from edgeml.runtime.model import Model

Verify = Callable[[Model], None]
"""Raises an `EdgeMLError` where the model is not to serve."""


class ModelSlot:
    """Holds the model that serves, and owns it: closing the slot closes the model."""

    def __init__(self, model: Model) -> None:
        """Start with a loaded model."""
        self._model = model
        self._serving = threading.Lock()
        self._swapping = threading.Lock()
        self._closed = False

    @property
    def model(self) -> Model:
        """The model that serves the next window. Ask again after a swap: the old one is closed."""
        return self._model

    def predict(
        self,
        window: ArrayLike,
        start_s: float = 0.0,
        end_s: float = 0.0,
        new: int | None = None,
    ) -> Result:
        """`Model.predict` of the model that serves."""
        with self._serving:
            return self._model.predict(window, start_s, end_s, new)

    def swap(
        self, load: Callable[[], Model] | Model, verify: Verify | None = None, warm_up_runs: int = 3
    ) -> Model:
        """Serve with another model from the next window on, and close the old one.

        Windows are served by the old model until the new one is loaded, verified
        and warm. Where any of that fails the new one is closed and the old one stays.

        Args:
            load: the new model, or what loads it; the slot owns it from here on.
            verify: looks at it before it serves, for example at its golden test.
            warm_up_runs: runs on zeros before it serves.

        Returns:
            The model that serves now.

        Raises:
            EdgeMLError: what `load` or `verify` raised.
            BackendError: the slot is closed.
        """
        with self._swapping:
            if self._closed:
                raise BackendError("the slot is closed; make another")
            model = load if isinstance(load, Model) else load()
            if model is self._model:
                return model
            try:
                if verify is not None:
                    verify(model)
                model.warm_up(warm_up_runs)
            except BaseException:
                model.close()
                raise
            with self._serving:
                old, self._model = self._model, model
            old.close()
            return model

    def close(self) -> None:
        """Close the model, after a window or a swap under way. May be repeated."""
        with self._swapping, self._serving:
            self._closed = True
            self._model.close()

    def __enter__(self) -> "ModelSlot":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
