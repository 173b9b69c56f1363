"""Every piece of Python in docs/runtime.md runs as it stands there, and its tables name what is."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edgeml.runtime import backend

ROOT = Path(__file__).resolve().parents[2]
DOC = (ROOT / "docs" / "runtime.md").read_text("utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", DOC, re.DOTALL)


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_every_snippet_of_the_document_runs_and_prints(number: int) -> None:
    if "gpiozero" in SNIPPETS[number]:
        pytest.importorskip("gpiozero", reason="the lamp's library is not installed")
    done = subprocess.run(
        [sys.executable, "-c", SNIPPETS[number]],
        cwd=ROOT, env={**os.environ, "GPIOZERO_PIN_FACTORY": "mock"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_document_names_each_variable_and_backend() -> None:
    names = (backend.ENVIRONMENT, backend.THREADS, backend.DELEGATE)
    for name in (*names, *backend.BACKENDS, *backend.WORKSTATION):
        assert f"`{name}`" in DOC
