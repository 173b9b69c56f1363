"""What a device does when a label begins or ends, once and without flicker: a lamp, a message."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import Enum

from edgeml.errors import ConfigError, nearest
from edgeml.lane import labels_of
from edgeml.result import Result
from edgeml.runtime.model import Model

Action = Callable[[Result], object]


class Edge(Enum):
    """What a label just did."""

    BEGAN = "began"
    ENDED = "ended"


class Trigger:
    """Watches for one label.

    Args:
        label: the label to watch for.
        windows: so many results in a row with the label begin it, and so many
            without it end it.

    Raises:
        ConfigError: less than one window.
    """

    __slots__ = ("_active", "_against", "_windows", "label")

    def __init__(self, label: str, windows: int = 1) -> None:
        if windows < 1:
            raise ConfigError(f"windows={windows}: it takes at least one result to decide")
        self.label = label
        self._windows = windows
        self._active = False
        self._against = 0

    @property
    def active(self) -> bool:
        """Whether the label holds."""
        return self._active

    def push(self, label: str | None) -> Edge | None:
        """Take the next result's label; say whether that begins or ends it."""
        if (label == self.label) == self._active:
            self._against = 0
            return None
        self._against += 1
        if self._against < self._windows:
            return None
        self._against = 0
        self._active = not self._active
        return Edge.BEGAN if self._active else Edge.ENDED


@dataclass(frozen=True, slots=True)
class Reaction:
    """What to call when a label begins and when it ends.

    Attributes:
        trigger: sees the labels, and how many in a row make an edge.
        model: the model whose results count, by name; None for every one.
        began: called with the result that begins the label.
        ended: called with the result that ends it.
    """

    trigger: Trigger
    model: str | None
    began: Action
    ended: Action | None

    def push(self, result: Result, labels: Collection[str | None]) -> None:
        """Take a result and the labels that hold for it; call what it calls for."""
        if self.model is not None and self.model != result.model.name:
            return
        label = self.trigger.label
        edge = self.trigger.push(label if label in labels else None)
        if edge is Edge.BEGAN:
            self.began(result)
        elif edge is Edge.ENDED and self.ended is not None:
            self.ended(result)


def check_reaction(models: Sequence[Model], label: str, name: str | None) -> None:
    """See that some model can give the label.

    Raises:
        ConfigError: no model has such a label or such a name.
    """
    names = [model.ref.name for model in models]
    if name is not None and name not in names:
        raise ConfigError(f"no model {name!r}; there is {', '.join(names)}{nearest(name, names)}")
    watched = [model for model in models if name in (None, model.ref.name)]
    labels = [known for model in watched for known in labels_of(model)]
    if label not in labels:
        raise ConfigError(
            f"no label {label!r}; there is {', '.join(labels) or 'none'}{nearest(label, labels)}"
        )
