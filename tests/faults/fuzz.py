"""Makes hostile model files: mutations of good ones, kept where they reach code not reached before.

Coverage guides it: a mutant that executes a new line of the readers joins the
corpus and is mutated further. Structure is respected half of the time (a member
is changed and the zip made anew, a model is changed and its digest with it), so
that checksums do not hide what lies behind them.
"""

import io
import json
import random
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from edgeml import archive, bundle, flatbuffer, jsonread, manifestread, npy
from edgeml.archive import write_zip
from edgeml.errors import EdgeMLError
from edgeml.manifest import Manifest
from edgeml.runtime import extents, graph, source

READERS = {
    str(module.__file__)
    for module in (
        *(archive, bundle, flatbuffer, jsonread, manifestread, npy),
        *(extents, graph, source),
    )
}
EDGES = (0, 1, 2, 7, 8, 0x7F, 0x80, 0xFE, 0xFF)
WORDS = (0, 1, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
VALUES: tuple[Any, ...] = (None, True, 0, -1, 1e308, 10**30, "", "x" * 999, [], [[]], {}, {"a": 1})

Lines = set[tuple[str, int]]


class Fuzzer:
    """Mutants of good files, without end, reproducible by the seed."""

    def __init__(self, seeds: list[bytes], seed: int) -> None:
        self._random = random.Random(seed)
        self.corpus = list(seeds)
        self.seen: Lines = set()
        for content in seeds:
            self.seen |= lines_of(content)

    def mutants(self) -> Iterator[bytes]:
        """One mutant after the other; those that reach new lines join the corpus."""
        while True:
            mutant = self._mutate(self._random.choice(self.corpus))
            reached = lines_of(mutant)
            if not reached <= self.seen:
                self.seen |= reached
                self.corpus.append(mutant)
            yield mutant

    def _mutate(self, content: bytes) -> bytes:
        ways: tuple[Callable[[bytes], bytes], ...] = (
            *(self._bytes, self._words, self._cut, self._repeat),
            *(self._member, self._member, self._manifest, self._model),
        )
        for _ in range(self._random.choice((1, 1, 2, 4))):
            content = self._random.choice(ways)(content)
        return content

    def _bytes(self, content: bytes) -> bytes:
        mutant = bytearray(content)
        for _ in range(min(len(mutant), self._random.choice((1, 2, 8)))):
            at = self._random.randrange(len(mutant))
            mutant[at] = self._random.choice((*EDGES, self._random.randrange(256)))
        return bytes(mutant)

    def _words(self, content: bytes) -> bytes:
        if len(content) < 8:
            return content
        size = self._random.choice((2, 4))
        at = self._random.randrange(len(content) - size)
        word = self._random.choice(WORDS) & ((1 << 8 * size) - 1)
        return content[:at] + word.to_bytes(size, "little") + content[at + size :]

    def _cut(self, content: bytes) -> bytes:
        a, b = sorted(self._random.randrange(len(content) + 1) for _ in range(2))
        return content[:a] if self._random.random() < 0.5 else content[:a] + content[b:]

    def _repeat(self, content: bytes) -> bytes:
        a, b = sorted(self._random.randrange(len(content) + 1) for _ in range(2))
        return content[:b] + content[a:b][:4096] + content[b:]

    def _member(self, content: bytes) -> bytes:
        """A member changed, and the zip made anew, its checksums right."""
        model, members = taken_apart(content)
        if not members:
            return self._bytes(content)
        name = self._random.choice(sorted(members))
        inner = self._random.choice((self._bytes, self._words, self._cut))
        members[name] = inner(members[name])
        return model + write_zip(members)

    def _manifest(self, content: bytes) -> bytes:
        """One value of the manifest replaced."""
        model, members = taken_apart(content)
        try:
            raw = json.loads(members["manifest.json"])
            parent = raw
            while True:
                key = self._random.choice(sorted(parent) if isinstance(parent, dict) else [0])
                if not isinstance(parent[key], dict) or self._random.random() < 0.4:
                    break
                parent = parent[key]
            parent[key] = self._random.choice(VALUES)
            members["manifest.json"] = json.dumps(raw).encode()
        except (KeyError, ValueError, IndexError, TypeError):
            return self._bytes(content)
        return model + write_zip(members)

    def _model(self, content: bytes) -> bytes:
        """The model changed, and its digest in the manifest with it."""
        model, members = taken_apart(content)
        changed = self._random.choice((self._bytes, self._words, self._cut))(model)
        changed = changed[:4] + b"TFL3" + changed[8:]
        try:
            manifest = Manifest.from_json(members["manifest.json"])
            return bundle.pack(changed, manifest)
        except (KeyError, EdgeMLError):
            return changed


def taken_apart(content: bytes) -> tuple[bytes, dict[str, bytes]]:
    """The model and the members, as far as a zip is there."""
    try:
        start = archive.zip_start(content, "mutant")
        if start is None:
            return content, {}
        with zipfile.ZipFile(io.BytesIO(content[start:])) as opened:
            small = [i for i in opened.infolist() if i.file_size < 1 << 20]
            return content[:start], {i.filename: opened.read(i) for i in small}
    except Exception:  # noqa: BLE001 - what zipfile raises on a mutant is of no interest here
        return content, {}


def lines_of(content: bytes) -> Lines:
    """The lines of the readers that reading this file executes, whatever they raise."""
    reached: Lines = set()

    def trace(frame: FrameType, event: str, _: object) -> Any:
        name = frame.f_code.co_filename
        if name not in READERS:
            return None
        if event == "line":
            reached.add((name, frame.f_lineno))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        source.read_source(content)
    except EdgeMLError:
        pass
    finally:
        sys.settrace(before)
    return reached


def good_files(root: Path) -> list[bytes]:
    """What to start from: the small bundles and models of the repository."""
    paths = [*root.glob("models/*/*.tflite"), *root.glob("tests/fixtures/*.tflite")]
    return [path.read_bytes() for path in sorted(paths) if path.stat().st_size < 1 << 17]
