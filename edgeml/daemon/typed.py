"""The values of a section, against the types that the arguments they become declare.

TOML knows fewer types than Python: what an argument may be besides (a class, an array) is
none of a file's business.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin

from edgeml.errors import ConfigError
from edgeml.jsonread import Fields


def check_types(section: Fields, kinds: Mapping[str, Any]) -> None:
    """See that each value is of the type of its key; keys that are unknown are not looked at.

    Args:
        section: the section.
        kinds: the annotation of the argument for each key.

    Raises:
        ConfigError: a value is of another type; the message has its key.
    """
    for key in section.raw:
        wrong: list[ConfigError] = []
        for read in _readers(kinds.get(key)):
            try:
                read(section, key)
                break
            except ConfigError as exc:
                wrong.append(exc)
        else:
            if wrong:
                raise wrong[0]


def _readers(kind: Any) -> Iterator[Callable[[Fields, str], object]]:
    """What reads each of the types that an annotation allows."""
    if get_origin(kind) in (Union, UnionType):
        for one in get_args(kind):
            yield from _readers(one)
    elif get_origin(kind) is Literal:
        yield Fields.text
    elif kind in _READERS:
        yield _READERS[kind]


def _number(section: Fields, key: str) -> object:
    # Whether there may be no end to it is for the argument to say.
    return section.raw[key] == math.inf or section.number(key)


_READERS: Final[Mapping[Any, Callable[[Fields, str], object]]] = MappingProxyType(
    {
        bool: Fields.boolean,
        int: Fields.integer,
        float: _number,
        str: Fields.text,
        Sequence[int]: Fields.integers,
        Sequence[float]: Fields.numbers,
        Sequence[str]: Fields.texts,
        Mapping[str, str]: Fields.child,
    }
)
