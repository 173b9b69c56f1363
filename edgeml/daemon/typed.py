"""The keys and values of a section, against the names and types of the arguments that they become.

TOML knows fewer types than Python: what an argument may be besides (a class, an array) is
none of a file's business.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin

from edgeml.errors import ConfigError, nearest
from edgeml.jsonread import Fields


def check_types(section: Fields, kinds: Mapping[str, Any]) -> None:
    """See that each key is known, and its value of the type that it has.

    Args:
        section: the section.
        kinds: the annotation of the argument for each key.

    Raises:
        ConfigError: a key is none of these, or a value of another type; the message has the key.
    """
    for key in section.raw:
        if key not in kinds:
            raise ConfigError(f"{section.path}.{key} is not a known key{nearest(key, kinds)}")
        wrong: list[ConfigError] = []
        for read in _readers(kinds[key]):
            try:
                read(section, key)
                break
            except ConfigError as exc:
                wrong.append(exc)
        else:
            if wrong:
                others = (str(one).partition("should be")[2] for one in wrong[1:])
                raise ConfigError(" or".join([str(wrong[0]), *others]))


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


def _texts_by_name(section: Fields, key: str) -> object:
    named = section.child(key)
    return [named.text(name) for name in named.raw]


_READERS: Final[Mapping[Any, Callable[[Fields, str], object]]] = MappingProxyType(
    {
        bool: Fields.boolean,
        int: Fields.integer,
        float: _number,
        str: Fields.text,
        Sequence[int]: Fields.integers,
        Sequence[float]: Fields.numbers,
        Sequence[str]: Fields.texts,
        Mapping[str, str]: _texts_by_name,
    }
)
