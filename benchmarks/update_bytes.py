"""What an update costs on the wire, beside casync, zchunk, xdelta3, bsdiff and zlib.

Pairs of MobileNet-size bundles (updatepairs.py): other labels, another head, everything
retrained; int8 and float. edgeml's bytes are all that a device fetches: changed chunks, release
index, rule, every byte of TUF's metadata, and the MQTT packets around them. casync: index and
new chunks. zchunk: header and new chunks. xdelta3 and bsdiff: one patch, which somebody has to
make for every version that is still in the field; nothing of theirs is signed. zlib: the file.
Tools that are not installed are named and stay empty: apt install casync zchunk xdelta3 bsdiff

    python benchmarks/update_bytes.py [--keep build/update_bytes] [--json]
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from updatepairs import Pair, make_pairs

from edgeml.cli.output import format_table
from edgeml.fleet.repo import contents
from edgeml.fleet.repo.packing import encode
from edgeml.fleet.repo.repository import Repository
from edgeml.releases import names
from edgeml.sync import topics

BOUNDS: Final = {"labels": ("file", 0.02), "head": ("file", 0.10), "whole": ("zlib", 1.05)}
_PACKET_BYTES: Final = 2 * 12
"""Fixed headers, identifiers and answers of a subscription and of the message it brings."""


def edgeml_bytes(pair: Pair, folder: Path) -> int:
    """Through a real repository: what a device with the old release fetches for the new one."""
    repository = Repository(folder / "repo")
    repository.create()
    for number, data in (("old", pair.old), ("new", pair.new)):
        path = folder / f"{number}.tflite"
        path.write_bytes(data)
        (released,) = repository.release([path])
        rule = repository.rollout(released.index.release, 10_000)
    with repository.open() as ledger:
        fetched = contents.download_bytes(ledger, released.index)["camera-1"]
        older = contents.releases(ledger)["camera-1"]
    fresh = {c.digest for c in released.index.chunks} - {c.digest for c in older.chunks}
    topic = topics.published("default", names.file_name("0" * 64))
    messages = len(fresh) + 4  # index, rule, metadata, timestamp
    return fetched + len(encode(rule.encode())) + messages * (2 * len(topic) + _PACKET_BYTES)


def casync_bytes(pair: Pair, folder: Path) -> int:
    """The new index, and the chunks that the old one's store does not have."""
    store = folder / "store"

    def make(name: str, data: bytes) -> tuple[Path, dict[str, int]]:
        (folder / name).write_bytes(data)
        index = folder / f"{name}.caibx"
        _run("casync", "make", f"--store={store}", str(index), str(folder / name))
        return index, {p.name: p.stat().st_size for p in store.rglob("*.cacnk")}

    _, before = make("old", pair.old)
    index, after = make("new", pair.new)
    return index.stat().st_size + sum(n for chunk, n in after.items() if chunk not in before)


def zchunk_bytes(pair: Pair, folder: Path) -> int:
    """What zchunk's own tool says it would download."""
    for name, data in (("old", pair.old), ("new", pair.new)):
        (folder / name).write_bytes(data)
        _run("zck", "-o", str(folder / f"{name}.zck"), str(folder / name))
    said = _run("zck_delta_size", str(folder / "old.zck"), str(folder / "new.zck"))
    numbers = [int(word) for word in said.replace(",", " ").split() if word.isdigit()]
    return numbers[0]


def xdelta3_bytes(pair: Pair, folder: Path) -> int:
    """One patch at the highest level."""
    return _patch(pair, folder, lambda old, new, out: ["xdelta3", "-9", "-e", "-s", old, new, out])


def bsdiff_bytes(pair: Pair, folder: Path) -> int:
    """One patch."""
    return _patch(pair, folder, lambda old, new, out: ["bsdiff", old, new, out])


def zlib_bytes(pair: Pair, _: Path) -> int:
    """The new file, packed."""
    return len(zlib.compress(pair.new, 9))


PEERS: Final[dict[str, tuple[str, Callable[[Pair, Path], int]]]] = {
    "edgeml": (sys.executable, edgeml_bytes),
    "casync": ("casync", casync_bytes),
    "zchunk": ("zck_delta_size", zchunk_bytes),
    "xdelta3": ("xdelta3", xdelta3_bytes),
    "bsdiff": ("bsdiff", bsdiff_bytes),
    "zlib": (sys.executable, zlib_bytes),
}


def _patch(pair: Pair, folder: Path, command: Callable[[str, str, str], list[str]]) -> int:
    old, new, out = (folder / name for name in ("old", "new", "patch"))
    old.write_bytes(pair.old)
    new.write_bytes(pair.new)
    _run(*command(str(old), str(new), str(out)))
    return out.stat().st_size


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def measure(pair: Pair) -> dict[str, int | None]:
    """Every peer's bytes for one pair; None where the tool is not here."""
    found: dict[str, int | None] = {}
    for name, (tool, work) in PEERS.items():
        with tempfile.TemporaryDirectory() as folder:
            found[name] = work(pair, Path(folder)) if shutil.which(tool) else None
    return found


def main() -> None:
    """Measure, print one table and one JSON line; end with 1 where a bound does not hold."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--keep", type=Path, default=Path("build/update_bytes"))
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows, documents, broken = [], [], 0
    for pair in make_pairs(args.keep):
        wire = measure(pair)
        whole, bound = BOUNDS[pair.change]
        base = len(pair.new) if whole == "file" else wire["zlib"] or 0
        ratio = (wire["edgeml"] or 0) / base
        broken += ratio > bound
        rows.append(
            (pair.scheme, pair.change, len(pair.new), *wire.values(),
             f"{ratio:.4f} of {whole}", f"{bound:g}")
        )  # fmt: skip
        documents.append(
            {"scheme": pair.scheme, "change": pair.change, "file": len(pair.new), **wire,
             "ratio": round(ratio, 4), "of": whole, "bound": bound}
        )  # fmt: skip
    missing = [name for name, (tool, _) in PEERS.items() if not shutil.which(tool)]
    if not args.json:
        print(format_table(("model", "change", "file", *PEERS, "edgeml's ratio", "bound"), rows))
        if missing:
            print(f"not installed: {', '.join(missing)}", file=sys.stderr)
    print(json.dumps({"benchmark": "update_bytes", "missing": missing, "pairs": documents}))
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
