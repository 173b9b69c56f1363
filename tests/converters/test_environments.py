"""Environments of their own: made once, whole or not at all, and never twice."""

import os
import signal
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest

from edgeml.errors import ConversionError, MissingDependencyError
from edgeml_converters.environments import (
    ONNX,
    TORCH,
    Environment,
    Recipe,
    build,
    ready,
    run_worker,
)
from edgeml_converters.environments.recipes import OwnTorch, fits


@dataclass(frozen=True)
class LocalRecipe(Recipe):
    """A recipe with a lock of the test's own."""

    path: Path = Path()

    @property
    def lock(self) -> Path:
        return self.path


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalRecipe:
    """An environment with one package of one line, from a folder of wheels and no network."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    wheel = wheels / "edgeml_tiny-1.0-py3-none-any.whl"
    described = "edgeml_tiny-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("edgeml_tiny.py", "answer = 42\n")
        archive.writestr(
            f"{described}/METADATA", "Metadata-Version: 2.1\nName: edgeml-tiny\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{described}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(f"{described}/RECORD", "")
    lock = tmp_path / "tiny.txt"
    digest = sha256(wheel.read_bytes()).hexdigest()
    lock.write_text(f"edgeml-tiny==1.0 --hash=sha256:{digest}\n", "utf-8")
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("EDGEML_CACHE", str(tmp_path / "cache"))
    return LocalRecipe("tiny", "tiny models", 1, path=lock)


def imported(environment: Environment) -> str:
    command = [str(environment.python), "-c", "import edgeml_tiny; print(edgeml_tiny.answer)"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def folders(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "cache" / "environments").iterdir() if path.is_dir()]


def test_an_environment_is_made_once_with_a_word_on_what_and_where(
    recipe: LocalRecipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = ready(recipe)
    assert imported(first) == "42"
    said = capsys.readouterr().err
    assert "the first conversion of tiny models installs about 1 packages" in said
    assert str(first.folder) in said
    assert ready(recipe) == first
    assert capsys.readouterr().err == ""
    assert folders(tmp_path) == [first.folder]


def test_conversions_at_the_same_time_make_one_environment(
    recipe: LocalRecipe, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    program = (
        "import sys; sys.path[:0] = [sys.argv[1]]\n"
        "from pathlib import Path\n"
        "from edgeml_converters.environments import Recipe, ready\n"
        "class Local(Recipe):\n"
        "    lock = Path(sys.argv[2])\n"
        "print(ready(Local('tiny', 'tiny models', 1)).folder)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path), str(recipe.path)]

    def one(_: int) -> str:
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout

    with ThreadPoolExecutor(3) as pool:
        assert len(set(pool.map(one, range(3)))) == 1
    assert capfd.readouterr().err.count("installs about") == 1
    assert len(folders(tmp_path)) == 1


def test_a_build_that_is_killed_leaves_nothing_that_the_next_would_take_for_whole(
    recipe: LocalRecipe, tmp_path: Path
) -> None:
    """The whole group is killed as soon as the unfinished folder is there, as on a power loss."""
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from edgeml_converters.environments import Recipe, ready\n"
        "class Local(Recipe):\n"
        "    lock = Path(sys.argv[1])\n"
        "ready(Local('tiny', 'tiny models', 1))\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(recipe.path)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert child.stderr is not None
    assert "installs about" in child.stderr.readline()
    folder = tmp_path / "cache" / "environments"
    while child.poll() is None and not list(folder.glob("*.part/bin")):
        os.sched_yield()
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    child.stderr.close()
    assert [path.suffix for path in folders(tmp_path)] == [".part"]
    assert imported(ready(recipe)) == "42"
    assert [path.suffix for path in folders(tmp_path)] == [""]


def test_a_package_that_is_not_the_one_that_was_locked_is_refused(
    recipe: LocalRecipe, tmp_path: Path
) -> None:
    recipe.path.write_text(f"edgeml-tiny==1.0 --hash=sha256:{'0' * 64}\n", "utf-8")
    with pytest.raises(MissingDependencyError, match=r"pip failed.*HASHES"):
        ready(recipe)
    assert folders(tmp_path) == []


def test_without_a_network_the_error_says_how_to_do_without(
    recipe: LocalRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(MissingDependencyError) as caught:
        ready(recipe)
    assert "the package index cannot be reached" in str(caught.value)
    assert f"pip download -d wheels -r {recipe.lock}" in str(caught.value)
    assert folders(tmp_path) == []


def test_a_disk_that_is_too_full_is_said_before_anything_is_fetched(
    recipe: LocalRecipe, tmp_path: Path
) -> None:
    huge = LocalRecipe("tiny", "tiny models", 1 << 40, path=recipe.path)
    with pytest.raises(MissingDependencyError, match="EDGEML_CACHE"):
        ready(huge)
    assert folders(tmp_path) == []


def test_a_place_that_cannot_be_written_is_named(
    recipe: LocalRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("EDGEML_CACHE", str(tmp_path / "file"))
    with pytest.raises(MissingDependencyError, match="EDGEML_CACHE can name another"):
        ready(recipe)


def test_the_cache_is_the_users_unless_he_names_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEML_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/me")
    assert build.cache_folder() == Path("/var/cache/me/edgeml/environments")
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    monkeypatch.setenv("HOME", "/home/me")
    assert build.cache_folder() == Path("/home/me/.cache/edgeml/environments")
    monkeypatch.setenv("EDGEML_CACHE", "/data")
    assert build.cache_folder() == Path("/data/environments")


def test_the_key_is_of_the_lock_and_of_the_pytorch_that_is_used(tmp_path: Path) -> None:
    keys = {
        TORCH.key(None),
        TORCH.key(OwnTorch("2.13.0", tmp_path)),
        TORCH.key(OwnTorch("2.14.0", tmp_path)),
        ONNX.key(None),
    }
    assert len(keys) == 4
    assert TORCH.key(None) == TORCH.key(None)


@pytest.mark.parametrize(
    ("version", "fit"),
    [("2.13.0+cpu", True), ("2.9.1", True), ("2.14.1", True), ("2.8.0", False), ("2.15.0", False)],
)
def test_only_a_pytorch_that_litert_torch_takes_is_used(version: str, fit: bool) -> None:
    assert fits(version) == fit


@pytest.mark.parametrize("recipe_", [TORCH, ONNX], ids=lambda one: one.name)
def test_the_locks_that_ship_are_hashed_and_name_no_host(recipe_: Recipe) -> None:
    text = recipe_.lock.read_text("utf-8")
    assert recipe_.packages > 50
    assert text.count("--hash=sha256:") > recipe_.packages
    assert "://" not in text
    assert "\ntorch==" not in text, "which build of PyTorch fits is not for a lock to say"


WORKERS = {
    "ends": "import os; os.abort()",
    "hangs": "import time\nwhile True: time.sleep(1)",
    "raises": "raise ValueError('said on the last line')",
}


@pytest.mark.parametrize(
    ("what", "said"), [("ends", "SIGABRT"), ("hangs", "longer than"), ("raises", "last line")]
)
def test_a_worker_that_does_not_answer_is_one_line_of_error(
    what: str, said: str, tmp_path: Path
) -> None:
    """A stand-in for an environment's Python, which does to any order what its file says."""
    python = tmp_path / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    (tmp_path / "worker.py").write_text(WORKERS[what])
    python.write_text(f"#!/bin/sh\nexec {sys.executable} {tmp_path / 'worker.py'}\n")
    python.chmod(0o755)
    environment = Environment("torch", tmp_path / "env")
    with pytest.raises(ConversionError) as caught:
        run_worker(environment, "describe", {"source": "model.pt2"}, tmp_path, limit_s=2.0)
    assert said in str(caught.value)
    assert str(caught.value).startswith("model.pt2: ")
    assert "\n" not in str(caught.value)


def test_a_worker_ends_with_the_conversion_that_started_it(tmp_path: Path) -> None:
    """Whoever would end it after its time is up is gone."""
    (tmp_path / "order.json").write_text("{}")
    worker = (
        "import signal, sys; sys.argv[1:] = ['wait']; from edgeml_workers.reply import answer;"
        "answer({'wait': lambda _: (print('at work', flush=True), signal.pause())})"
    )
    starter = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {worker!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", starter],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(build.__file__).parents[1] / "inside")},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "at work\n"
        process.kill()
        process.communicate(timeout=60)  # the worker holds the pipe while it lives
