"""Turns a stream of labels into beginnings and ends, for what should act once and not flicker."""

from enum import Enum

from edgeml.errors import ConfigError


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
