"""docs/bundle.md is held to the code: its reader reads our bundles, its example is a manifest."""

import re
from pathlib import Path
from typing import Any

import pytest

from edgeml import archive, bundle, manifest
from edgeml.bundle import Bundle
from edgeml.manifest import TASKS, Manifest

pytestmark = pytest.mark.workstation

ROOT = Path(__file__).parents[2]
DOC = (ROOT / "docs" / "bundle.md").read_text(encoding="utf-8")
BUNDLES = sorted((ROOT / "models").glob("*/*.tflite"))


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", DOC, re.DOTALL)
    assert found is not None
    return found[1]


def documented_reader() -> Any:
    scope: dict[str, Any] = {}
    exec(compile(block("python"), "docs/bundle.md", "exec"), scope)  # noqa: S102 - our own page
    return scope["read_bundle"]


@pytest.mark.parametrize("path", BUNDLES, ids=lambda path: path.stem)
def test_the_pages_reader_reads_what_ours_reads(path: Path) -> None:
    ours = Bundle.read(path)
    raw, model, members = documented_reader()(path)
    assert model == ours.tflite
    assert raw["name"] == ours.manifest.name
    assert next(iter(members)) == "manifest.json"


def test_there_are_bundles_to_read() -> None:
    assert BUNDLES


def test_the_pages_manifest_is_one() -> None:
    text = block("json").replace("5f0c…64 hexadecimal digits", "5f" * 32)
    assert Manifest.from_json(text).name == "activity"


def test_every_task_and_every_bound_is_on_the_page() -> None:
    assert all(f"`{task}`" in DOC or f"| {task} |" in DOC for task in TASKS)
    bounds = {
        "1 GiB": bundle.MAX_BUNDLE_BYTES == 1 << 30,
        "64 MiB": bundle.MAX_GOLDEN_BYTES == 64 << 20,
        "4 MiB": bundle.MAX_BASELINE_BYTES == 4 << 20,
        "1 MiB": manifest.MAX_MANIFEST_BYTES == 1 << 20,
        "64 KiB": archive.MAX_DIRECTORY_BYTES == 64 << 10,
        "2²⁶": manifest.MAX_ELEMENTS == 1 << 26,
    }
    assert all(named in DOC and true for named, true in bounds.items())
    assert archive.MAX_MEMBERS == 64
