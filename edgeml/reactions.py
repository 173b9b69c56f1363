"""What a device does when a label begins or ends: a lamp, a relay, a message."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgeml.errors import ConfigError, nearest
from edgeml.lane import labels_of
from edgeml.monitor.trigger import Edge, Trigger
from edgeml.result import Result
from edgeml.runtime.model import Model

Action = Callable[[Result], object]


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

    def push(self, result: Result) -> None:
        """Take a result; call what it calls for."""
        if self.model is not None and self.model != result.model.name:
            return
        edge = self.trigger.push(result.label)
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
