"""Damaged and hostile skops files: each one line of error, never a crash, hang or executed code."""

import io
import json
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn import datasets, ensemble, naive_bayes, neural_network, pipeline, preprocessing, svm

from tests.converters.test_hostile_sources import Exploit, mutants, zipfile_of_nothing

pytestmark = pytest.mark.slow

SEED = 12

# Opens every file, asks it for answers and compiles it: whatever a damaged one would crash.
OPENER = """
import json, sys, time
import numpy as np
from edgeml.errors import EdgeMLError
from edgeml_converters.sources import open_source
for path in sys.stdin.read().split("\\n"):
    started = time.process_time()
    try:
        model = open_source(path)
        model.predict(np.ones((3, *model.input_shape), np.float32))
        said = "opened"
    except EdgeMLError as exc:
        said = f"refused: {exc}"
    except BaseException as exc:
        said = f"LEAKED {type(exc).__name__}: {exc}"
    print(json.dumps([path, said, time.process_time() - started]), flush=True)
"""


def estimators() -> dict[str, Any]:
    rows, target = datasets.load_wine(return_X_y=True)
    chain = pipeline.make_pipeline(
        preprocessing.StandardScaler(), ensemble.RandomForestClassifier(3, random_state=0)
    )
    made = {
        "forest": chain,
        "machine": svm.SVC(),
        "boosting": ensemble.HistGradientBoostingClassifier(max_iter=2),
        "network": neural_network.MLPClassifier((4,), max_iter=5),
        "bayes": naive_bayes.GaussianNB(),
    }
    return {name: one.fit(rows, target) for name, one in made.items()}


def rezipped(whole: bytes, rng: np.random.Generator, count: int) -> Iterator[bytes]:
    """Files whose zip is sound, with one member damaged: what a checksum does not catch."""
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    names = sorted(name for name, content in members.items() if content)
    for i in range(count):
        # Every second time the tree of objects, which says what is to be built.
        chosen = "schema.json" if i % 2 else names[int(rng.integers(0, len(names)))]
        (damaged,) = mutants(members[chosen], 1, rng) if i % 4 > 1 else (_shifted(members, chosen),)
        yield zipped({**members, chosen: damaged})


def _shifted(members: dict[str, bytes], name: str) -> bytes:
    """Another member's content, or the same with all its numbers changed."""
    if name == "schema.json":
        return members[name].replace(b'"int"', b'"float"').replace(b"[", b"[[", 3)
    head, tail = members[name][:128], members[name][128:]
    return head + bytes((value * 7 + 13) % 256 for value in tail)


def zipped(members: dict[str, bytes]) -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return raw.getvalue()


def schema(module: str, kind: str, loader: str, content: Any) -> bytes:
    node = {"__module__": module, "__class__": kind, "__loader__": loader, "content": content}
    return zipped({"schema.json": json.dumps({**node, "protocol": 2, "__id__": 1}).encode()})


def disguised(whole: bytes, module: str, kind: str) -> bytes:
    """A sound file whose object is said to be of another type."""
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    tree = json.loads(members["schema.json"])
    tree["__module__"], tree["__class__"] = module, kind
    return zipped({**members, "schema.json": json.dumps(tree).encode()})


def hostile(folder: Path) -> Iterator[tuple[str, bytes]]:
    touch = f"touch {folder / 'owned'}"
    yield "empty.skops", b""
    yield "pickle.skops", pickle.dumps(Exploit(folder / "owned"))
    yield "trusted_nobody.pkl", pickle.dumps(Exploit(folder / "owned"))
    yield "nothing.skops", zipfile_of_nothing()
    yield "bomb.skops", zipped({"schema.json": b"{}", "a.npy": bytes(300 << 20)})
    yield "large_schema.skops", zipped({"schema.json": b" " * (65 << 20)})
    yield "deep.skops", zipped({"schema.json": b"[" * 100_000})
    yield "text.skops", zipped({"schema.json": b"not json"})
    yield "list.skops", zipped({"schema.json": b"[]"})
    yield "sparse.skops", zipped({"schema.json": b"{}", "a.npz": zipfile_of_nothing()})
    yield "system.skops", schema("os", "system", "FunctionNode", {"module_path": touch})
    yield "eval.skops", schema("builtins", "eval", "TypeNode", {"args": touch})
    whole = skops.io.dumps(preprocessing.Normalizer())
    yield "object.skops", disguised(whole, "subprocess", "Popen")
    yield "operator.skops", schema("operator", "methodcaller", "OperatorFuncNode", {"attrs": touch})
    yield "elf.skops", b"\x7fELF" + bytes(1000)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What opening said to each source, by its name."""
    folder = tmp_path_factory.mktemp("hostile")
    rng = np.random.default_rng(SEED)
    sources = list(hostile(folder))
    for name, estimator in estimators().items():
        whole = skops.io.dumps(estimator)
        sources.append((f"{name}.skops", whole))
        bad = [*mutants(whole, 12, rng), *rezipped(whole, rng, 40)]
        sources += [(f"{name}_{i}.skops", content) for i, content in enumerate(bad)]
    for name, content in sources:
        (folder / name).write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", OPENER],
        input="\n".join(str(folder / name) for name, _ in sources),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"{sources[len(rows)][0]}: {done.stderr[-2000:]}"
    assert len(rows) == len(sources)
    assert not (folder / "owned").exists(), "a source executed code"
    assert max(seconds for _, _, seconds in rows[1:]) < 30
    return {Path(path).name: said for path, said, _ in rows}


def test_the_files_that_were_left_whole_open(outcomes: dict[str, str]) -> None:
    for name in ("forest", "machine", "boosting", "network", "bayes"):
        assert outcomes[f"{name}.skops"] == "opened"


def test_hundreds_of_damaged_files_are_refused_in_one_line_or_were_harmlessly_changed(
    outcomes: dict[str, str],
) -> None:
    assert len(outcomes) >= 250
    leaked = {name: said for name, said in outcomes.items() if said.startswith("LEAKED")}
    assert not leaked
    refused = [said for said in outcomes.values() if said.startswith("refused")]
    assert all("\n" not in said for said in refused)
    # A changed weight, or bytes that nobody reads, leaves a model that opens.
    assert len(refused) >= len(outcomes) / 2


def test_every_hostile_file_is_refused(outcomes: dict[str, str], tmp_path: Path) -> None:
    opened = [name for name, _ in hostile(tmp_path) if outcomes[name] == "opened"]
    assert not opened
    assert "unpack to" in outcomes["bomb.skops"]
    assert "sparse" in outcomes["sparse.skops"]
    assert "subprocess.Popen" in outcomes["object.skops"]
    assert "no zip" in outcomes["pickle.skops"]
    assert "--trust-pickle" in outcomes["trusted_nobody.pkl"]
