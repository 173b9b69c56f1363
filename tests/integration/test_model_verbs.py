"""inspect, verify, bench and predict, as a user types them."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edgeml.bundle import Golden, pack
from edgeml.cli.main import main
from edgeml.device import Device
from edgeml.manifest import Budgets, InputSpec, Manifest, OutputSpec, PreprocessStep, channels
from edgeml.runtime import bench
from edgeml.runtime.model import Model
from edgeml.sensors import Replay

FIXTURES = Path(__file__).parents[1] / "fixtures"
INT8 = (FIXTURES / "classifier_int8.tflite").read_bytes()
LABELS = ("still", "walk", "run", "jump")


def samples(count: int) -> npt.NDArray[np.float32]:
    i = np.arange(count * 3, dtype=np.int64)
    return (((i * 37) % 101 - 50) / 16).astype(np.float32).reshape(count, 3)


def manifest(budgets: Budgets | None) -> Manifest:
    return Manifest(
        name="gait",
        version=7,
        task="classification",
        created="2026-01-31T12:00:00Z",
        inputs=InputSpec(channels(("x", "y", "z"), "m/s^2"), 50.0, 20, 10, (20, 3)),
        outputs=OutputSpec("classification", LABELS),
        budgets=budgets,
    )


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write(tmp_path, None)


def write(folder: Path, budgets: Budgets | None) -> Path:
    given = samples(40).reshape(2, 20, 3)
    with Model.load(INT8) as model:
        outputs = np.stack([model.run_raw(w) for w in given])
    path = folder / "gait.tflite"
    golden = Golden(given, outputs, 1.0)
    path.write_bytes(pack(INT8, manifest(budgets), golden, {"schema": 1}))
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def as_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    status, out, _ = run(capsys, *arguments, "--json")
    assert status == 0
    assert out.count("\n") == 1
    document: dict[str, Any] = json.loads(out)
    return document


def test_inspect_shows_what_is_in_a_bundle(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = as_json(capsys, "inspect", bundle)
    assert facts["manifest"]["name"] == "gait"
    assert facts["operators"] == ["RESHAPE", "FULLY_CONNECTED", "FULLY_CONNECTED", "SOFTMAX"]
    assert facts["golden"] == {"windows": 2, "tolerance": 1.0}
    assert facts["baseline"] == ["schema"]
    assert facts["size_bytes"] == bundle.stat().st_size
    status, out, _ = run(capsys, "inspect", bundle)
    assert status == 0
    for part in ("gait version 7", "x [m/s^2]", "still, walk, run, jump", "2 FULLY_CONNECTED"):
        assert part in out


def test_inspect_shows_what_is_in_a_plain_model(capsys: pytest.CaptureFixture[str]) -> None:
    path = FIXTURES / "autoencoder_int8.tflite"
    facts = as_json(capsys, "inspect", path)
    assert facts["manifest"] is None
    assert facts["inputs"][0]["dtype"] == "int8"
    assert "a plain .tflite" in run(capsys, "inspect", path)[1]


def test_verify_passes_a_good_bundle(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = as_json(capsys, "verify", bundle, "--runs", 5)
    assert facts["ok"] is True
    assert facts["golden"]["passed"] is True
    status, out, _ = run(capsys, "verify", bundle, "--runs", 5)
    assert status == 0
    assert "2 of 2 windows within 1" in out
    assert "keeps its promises" in out


def test_verify_ends_with_a_status_of_its_own_where_a_promise_is_broken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, Budgets(p95_ms=1e-6))
    status, out, _ = run(capsys, "verify", path, "--runs", 5, "--json")
    assert status == 25
    facts = json.loads(out)
    assert facts["ok"] is False
    assert facts["violations"][0].startswith("latency: p95 is")
    status, out, _ = run(capsys, "verify", path, "--runs", 5)
    assert status == 25
    assert "BROKEN  latency" in out


def test_verify_ends_with_the_errors_status_where_the_file_is_damaged(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = bytearray(bundle.read_bytes())
    data[99] ^= 1
    bundle.write_bytes(data)
    status, out, err = run(capsys, "verify", bundle, "--json")
    assert status == 11
    assert json.loads(out)["kind"] == "BundleError"
    assert "SHA-256" in err


def test_bench_measures_everything_it_names(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(bench.LAB, raising=False)
    facts = as_json(capsys, "bench", bundle, "--runs", 50)
    assert 0 < facts["p50_us"] <= facts["p95_us"] <= facts["p99_us"]
    parts = facts["pre_us"] + facts["invoke_us"] + facts["post_us"]
    assert 0 < parts < facts["p99_us"] * 3
    assert 0 < facts["overhead_us"] < facts["p50_us"]
    assert facts["peak_rss_mb"] > 10
    assert facts["cold_start_ms"] > 1
    assert facts["instructions"] is None
    keys = "p50_us p95_us p99_us pre_us invoke_us post_us overhead_us peak_rss_mb"
    assert list(facts) == [*keys.split(), "cold_start_ms", "instructions"]
    text = run(capsys, "bench", bundle, "--runs", 5)[1]
    assert "predict, median" in text
    assert "5 predictions" in text
    assert "Times by operator: the Python package of" in text


def test_bench_counts_instructions_with_a_lab(
    bundle: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """A lab is any script that counts a Python command line on a board: 7 a run here."""
    lab = tmp_path / "lab.py"
    lab.write_text(
        "import json, subprocess, sys\n"
        "assert sys.argv[1:4] == ['count', 'armhf', '--'], sys.argv\n"
        "subprocess.run([sys.executable, *sys.argv[4:]], check=True, stdout=sys.stderr)\n"
        "print(1000 + 7 * json.loads(sys.argv[-1])['runs'])\n"
    )
    monkeypatch.setenv(bench.LAB, str(lab))
    words = ("bench", bundle, "--runs", 5, "--board")
    assert as_json(capsys, *words, "armhf")["instructions"] == 7
    status, _, err = run(capsys, *words, "arm64")
    assert status == 18
    assert "EDGEML_ARM_LAB: " in err
    assert "AssertionError" in err


@pytest.mark.parametrize("verb", ["bench", "verify"])
def test_no_runs_at_all_measure_nothing(
    verb: str, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, err = run(capsys, verb, bundle, "--runs", 0)
    assert status == 18
    assert "runs is 0" in err


def recording(path: Path, count: int) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["time_s", "z", "y", "x"])  # columns go by name, not by place
        for i, (x, y, z) in enumerate(samples(count)):
            writer.writerow([1000 + i / 50, z, y, x])
    return path


def test_a_plain_model_promises_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "verify", FIXTURES / "classifier_int8.tflite", "--runs", 5)
    assert status == 0
    assert "promises nothing" in out
    assert "keeps its promises" not in out


def test_predict_refuses_a_recording_at_another_rate(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fast = tmp_path / "fast.csv"
    rows = "".join(f"{1000 + i / 200},0,0,0\n" for i in range(200))
    fast.write_text("time_s,x,y,z\n" + rows)
    status, _, err = run(capsys, "predict", bundle, fast)
    assert status == 17
    assert "fast.csv: by its times it gives 200 samples a second, and 50 are wanted" in err


def test_predict_cuts_a_recording_into_windows(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = recording(tmp_path / "walk.csv", 55)
    status, out, _ = run(capsys, "predict", bundle, source)
    assert status == 0
    rows = list(csv.DictReader(out.splitlines()))
    assert [row["window"] for row in rows] == ["0", "1", "2", "3"]
    assert [float(row["start_s"]) for row in rows] == pytest.approx([1000, 1000.2, 1000.4, 1000.6])
    with Model.load(bundle) as model:
        for i, row in enumerate(rows):
            expected = model.predict(samples(55)[10 * i : 10 * i + 20])
            assert row["label"] == expected.label
            assert float(row["score"]) == expected.score
            assert [float(row[f"p_{label}"]) for label in LABELS] == list(expected.outputs)


def test_predict_says_what_it_left_out_of_a_recording(
    bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    rows = ["x,y,z", *(f"{'nan' if i == 30 else i},2,3" for i in range(60))]
    path = tmp_path / "torn.csv"
    path.write_text("\n".join(rows))
    assert main(["predict", str(bundle), str(path)]) == 0
    assert "its 0 gaps, 0 steps back in time and 1 readings of no number" in caplog.text
    path.write_text("\n".join(rows[:12]))
    assert main(["predict", str(bundle), str(path)]) == 0
    assert "11 samples made no window of 20" in caplog.text
    assert len(capsys.readouterr().out.splitlines()) == 2 + 3


def test_predict_leaves_out_a_reading_that_overflows_in_preprocessing_as_a_device_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """The same windows come out, and the same is counted."""
    bundle, path = tmp_path / "loud.tflite", tmp_path / "loud.csv"
    loud = manifest(None).replace(preprocess=(PreprocessStep("scale", {"factor": 1e4}),))
    bundle.write_bytes(pack(INT8, loud))
    rows = samples(100)
    rows[33, 1] = 1e38
    text = [f"{1000 + i / 50:.2f},{x},{y},{z}" for i, (x, y, z) in enumerate(rows)]
    path.write_text("\n".join(["time_s,x,y,z", *text]))
    status, out, _ = run(capsys, "predict", bundle, path)
    assert status == 0
    with Device("d", model=str(bundle)) as device:
        expected = [(r.start_s, r.label) for r in device.run(Replay(path))]
        assert [stats.not_finite for stats in device.health().windows] == [1]
    found = [(float(row["start_s"]), row["label"]) for row in csv.DictReader(out.splitlines())]
    assert found == expected
    assert len(found) > 5
    assert "0 steps back in time and 1 readings of no number" in caplog.text


def test_predict_has_a_column_for_what_has_no_name_as_the_boxes_of_a_detector(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, source = tmp_path / "owls.tflite", tmp_path / "windows.npy"
    spec = OutputSpec("detection", ("cat", "dog", "owl"), 0.6)
    tflite = (FIXTURES / "detector_float.tflite").read_bytes()
    bundle.write_bytes(pack(tflite, manifest(None).replace(task="detection", outputs=spec)))
    np.save(source, samples(20)[np.newaxis])
    status, out, _ = run(capsys, "predict", bundle, source)
    assert status == 0
    (row,) = csv.DictReader(out.splitlines())
    with Model.load(bundle) as model:
        expected = model.predict(samples(20))
    assert [float(x) for x in row["outputs"].split()] == list(expected.outputs)
    assert (len(expected.outputs), row["label"]) == (18, expected.label)
    assert set(row) == {"file", "window", "start_s", "end_s", "label", "score", "outputs"}


@pytest.mark.parametrize("form", ["npy of windows", "npy of one window", "npz", "recordings"])
def test_predict_takes_arrays_of_windows_and_of_recordings(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    windows = samples(60).reshape(3, 20, 3)
    source = tmp_path / ("in.npz" if form in ("npz", "recordings") else "in.npy")
    if form == "npy of windows":
        np.save(source, windows)
    elif form == "npy of one window":
        np.save(source, windows[0])
    elif form == "npz":
        np.savez(source, windows=windows, other=np.zeros(3))
    else:
        np.savez(source, recordings=samples(60).reshape(2, 30, 3))
    count = {"npy of one window": 1, "recordings": 4}.get(form, 3)
    out = tmp_path / "out.jsonl"
    facts = as_json(capsys, "predict", bundle, source, "-o", out)
    assert facts["windows"] == count
    assert sum(facts["labels"].values()) == count
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["window"] for row in rows] == list(range(count))
    assert all(row["label"] in LABELS for row in rows)


def test_predict_runs_over_many_files(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = [recording(tmp_path / f"{i}.csv", 40) for i in range(3)]
    out = tmp_path / "out.csv"
    status, text, _ = run(capsys, "predict", bundle, *sources, "-o", out)
    assert status == 0
    assert text.startswith("9 windows of 3 files")
    rows = list(csv.DictReader(out.open()))
    assert [row["file"] for row in rows] == [str(s) for s in sources for _ in range(3)]
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(
    ("content", "name", "status", "message"),
    [
        (None, "missing.npy", 13, "cannot be read"),
        (b"not an array", "bad.npy", 13, "not an array file"),
        (b"x,y\n1,2\n", "bad.csv", 17, "bad.csv: no column 'z'; it has x, y"),
        (b"", "empty.csv", 17, "; it is empty"),
        (b"", "empty.npz", 13, "not an array file"),
    ],
)
def test_predict_names_an_input_that_it_cannot_use(
    bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: bytes | None,
    name: str,
    status: int,
    message: str,
) -> None:
    source = tmp_path / name
    if content is not None:
        source.write_bytes(content)
    found, _, err = run(capsys, "predict", bundle, source, "-o", tmp_path / "out.csv")
    assert found == status
    assert message in err
    assert name in err
    assert not (tmp_path / "out.csv").exists()
    assert not list(tmp_path.glob("*.part"))


def test_predict_refuses_arrays_of_another_shape_and_pickles(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in.npy"
    np.save(source, np.zeros((5, 20, 4), np.float32))
    status, _, err = run(capsys, "predict", bundle, source)
    assert status == 13
    assert "takes windows [n, 20, 3]" in err
    np.save(source, np.array([{}], object), allow_pickle=True)
    status, _, err = run(capsys, "predict", bundle, source)
    assert status == 13


def test_predict_needs_a_place_for_results_beside_the_json(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = recording(tmp_path / "walk.csv", 40)
    status, _, err = run(capsys, "predict", bundle, source, "--json")
    assert status == 18
    assert "-o" in err
    status, _, err = run(capsys, "predict", bundle, source, "-o", tmp_path / "out.xls")
    assert status == 18
    assert ".csv or .jsonl" in err
