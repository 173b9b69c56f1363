"""Reads typed values out of parsed JSON or TOML and names what is wrong by its path.

Manifest, messages and configuration all meet the same mistakes: a missing key,
a wrong type, a typo. They meet them here, so that the message is the same
everywhere: the path, what was found, what it should be, the nearest right key.
"""

import math
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from edgeml.errors import EdgeMLError, nearest

_MISSING: Final = object()


class Fields:
    """One JSON object, read key by key; `finish` objects to the keys nobody asked for.

    Args:
        raw: the object.
        path: where it stands, for messages: `manifest.inputs`.
        error: the branch of the error tree to raise.
        ignore_unknown: accept keys that nobody asks for (a later minor version).

    Raises:
        EdgeMLError: of the given branch, from every method, where a value does not fit.
    """

    __slots__ = ("_asked", "_error", "_ignore_unknown", "path", "raw")

    def __init__(
        self,
        raw: object,
        path: str,
        error: type[EdgeMLError],
        *,
        ignore_unknown: bool = False,
    ) -> None:
        if not isinstance(raw, Mapping):
            raise error(f"{path} is {_kind(raw)}; it should be an object")
        self.raw: Mapping[str, Any] = raw
        self.path = path
        self._error = error
        self._ignore_unknown = ignore_unknown
        self._asked: set[str] = set()

    def finish(self) -> None:
        """Object to any key that was not asked for."""
        unknown = [key for key in self.raw if key not in self._asked]
        if unknown and not self._ignore_unknown:
            key = str(unknown[0])
            raise self._error(f"{self.path}.{key} is not a known key{nearest(key, self._asked)}")

    def text(self, key: str, *, default: str | None = None) -> str:
        """A string."""
        value = self._get(key, _MISSING if default is None else default)
        return value if isinstance(value, str) else self._wrong(key, value, "a string")

    def optional_text(self, key: str) -> str | None:
        """A string, or None where the key is absent or null."""
        return None if self._get(key, None) is None else self.text(key)

    def integer(self, key: str, *, default: int | None = None) -> int:
        """A whole number; true and false are not numbers."""
        value = self._get(key, _MISSING if default is None else default)
        if isinstance(value, bool) or not isinstance(value, int):
            return self._wrong(key, value, "a whole number")
        return value

    def number(self, key: str, *, default: float | None = None) -> float:
        """A finite number."""
        value = self._get(key, _MISSING if default is None else default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return self._wrong(key, value, "a number")
        try:
            number = float(value)
        except OverflowError:
            return self._wrong(key, value, "a number that fits 64 bits")
        return number if math.isfinite(number) else self._wrong(key, value, "a finite number")

    def optional_number(self, key: str) -> float | None:
        """A finite number, or None where the key is absent or null."""
        return None if self._get(key, None) is None else self.number(key)

    def boolean(self, key: str, *, default: bool | None = None) -> bool:
        """True or false."""
        value = self._get(key, _MISSING if default is None else default)
        return value if isinstance(value, bool) else self._wrong(key, value, "true or false")

    def value(self, key: str) -> Any:
        """Any JSON value, for the caller to judge; None where the key is absent."""
        return self._get(key, None)

    def items(self, key: str) -> list[Any]:
        """A list of anything; empty where the key is absent."""
        value = self._get(key, [])
        return value if isinstance(value, list) else self._wrong(key, value, "a list")

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings; empty where the key is absent."""
        values = self.items(key)
        if not all(isinstance(value, str) for value in values):
            return self._wrong(key, values, "a list of strings")
        return tuple(values)

    def integers(self, key: str) -> tuple[int, ...]:
        """A list of whole numbers; empty where the key is absent."""
        values = self.items(key)
        if not all(isinstance(value, int) and not isinstance(value, bool) for value in values):
            return self._wrong(key, values, "a list of whole numbers")
        return tuple(values)

    def numbers(self, key: str) -> tuple[float, ...]:
        """A list of finite numbers; empty where the key is absent."""
        values = self.items(key)
        for value in values:
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                return self._wrong(key, values, "a list of numbers")
        try:
            numbers = tuple(float(value) for value in values)
        except OverflowError:
            return self._wrong(key, values, "a list of numbers that fit 64 bits")
        if not all(map(math.isfinite, numbers)):
            return self._wrong(key, values, "a list of finite numbers")
        return numbers

    def child(self, key: str) -> "Fields":
        """An object, as fields of its own."""
        return self._fields(self._get(key, _MISSING), f"{self.path}.{key}")

    def optional_child(self, key: str) -> "Fields | None":
        """An object, or None where the key is absent or null."""
        value = self._get(key, None)
        return None if value is None else self._fields(value, f"{self.path}.{key}")

    def children(self, key: str) -> list["Fields"]:
        """A list of objects; empty where the key is absent."""
        return [
            self._fields(value, f"{self.path}.{key}[{i}]")
            for i, value in enumerate(self.items(key))
        ]

    def _fields(self, value: object, path: str) -> "Fields":
        return Fields(value, path, self._error, ignore_unknown=self._ignore_unknown)

    def _get(self, key: str, default: Any) -> Any:
        self._asked.add(key)
        value = self.raw.get(key, default)
        if value is _MISSING:
            others = (str(k) for k in self.raw if k not in self._asked)
            near = nearest(key, others, "is it misspelt as")
            raise self._error(f"{self.path}.{key} is missing{near}")
        return value

    def _wrong(self, key: str, value: object, expected: str) -> NoReturn:
        raise self._error(f"{self.path}.{key} is {_kind(value)}; it should be {expected}")


def _kind(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
