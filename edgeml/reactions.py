"""What a device does when a label begins or ends, once and without flicker: a lamp, a message."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from enum import Enum

from edgeml.errors import ConfigError, nearest
from edgeml.labels import labels_of
from edgeml.lane import Lane
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


@dataclass(slots=True)
class Reaction:
    """What to call when a label begins and when it ends, in each model by itself.

    Attributes:
        label: the label to watch for.
        windows: as of `Trigger`.
        model: the model whose results count, by name; None for every one.
        began: called with the result that begins the label.
        ended: called with the result that ends it.

    Raises:
        ConfigError: less than one window.
    """

    label: str
    windows: int
    model: str | None
    began: Action
    ended: Action | None
    _triggers: dict[str, Trigger] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        Trigger(self.label, self.windows)  # what is wrong with them is said at once

    def push(self, name: str, labels: Collection[str | None], result: Result) -> None:
        """Take the labels that hold for a model, and the result that says so."""
        if self.model not in (None, name):
            return
        trigger = self._triggers.get(name)
        if trigger is None:
            trigger = self._triggers[name] = Trigger(self.label, self.windows)
        edge = trigger.push(self.label if self.label in labels else None)
        if edge is Edge.BEGAN:
            self.began(result)
        elif edge is Edge.ENDED and self.ended is not None:
            self.ended(result)


def react(reactions: Sequence[Reaction], lane: Lane, result: Result) -> None:
    """Call what a result calls for; what its lane's gate kept from a model has no label there."""
    labels = lane.labels(result)
    for reaction in reactions:
        reaction.push(result.model.name, labels, result)
        if lane.withheld is not None:
            reaction.push(lane.withheld, (), result)


def watched(models: Sequence[Model], label: str, name: str | None) -> list[str]:
    """The names of the models that can give the label: of one, or of every one.

    Raises:
        ConfigError: no model has such a label or such a name.
    """
    names = [model.ref.name for model in models]
    if name is not None and name not in names:
        raise ConfigError(f"no model {name!r}; there is {', '.join(names)}{nearest(name, names)}")
    known = {one.ref.name: labels_of(one) for one in models if name in (None, one.ref.name)}
    found = [one for one, labels in known.items() if label in labels]
    if not found:
        labels = [one for each in known.values() for one in each]
        raise ConfigError(
            f"no label {label!r}; there is {', '.join(labels) or 'none'}{nearest(label, labels)}"
        )
    return found
