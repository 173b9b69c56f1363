"""Windows that a model was unsure of come home, to be labelled: device, broker, ingest, file."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from edgeml import Device, Mqtt, Samples
from edgeml.cli.main import main
from edgeml.errors import ConfigError, StoreError
from edgeml.fleet.localbroker import LocalBroker, embedded
from edgeml.fleet.samplefile import export_samples
from edgeml.fleet.sqlite_store import SQLiteStore
from edgeml.npy import write_npy
from edgeml.sensors.sample import Window
from edgeml.sync.connection import Connection
from tests.ingesting import ingesting

FIXTURE = Path(__file__).parent.parent / "fixtures" / "classifier_int8.tflite"
DEADLINE_S = 300.0


@pytest.fixture
def broker() -> Iterator[LocalBroker]:
    pytest.importorskip("amqtt")
    with LocalBroker(embedded()) as running:
        yield running


def test_doubtful_windows_reach_a_file_that_training_reads(
    broker: LocalBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = SQLiteStore(tmp_path / "store.db")
    sync = Mqtt(
        broker.url, fleet="plant", outbox=tmp_path / "outbox.db", commit_interval_ms=20,
        reconnect_min_s=0.1,
    )  # fmt: skip
    rng = np.random.default_rng(7)
    samples = Samples(one_in=4, per_hour=10**9)
    with (
        ingesting(Connection(broker.url, reconnect_min_s=0.1), store),
        Device("pump-7", model=str(FIXTURE), sync=sync, samples=samples) as device,
    ):
        shape = device.model.input_spec.shape[1:]
        given = [rng.normal(size=shape).astype(np.float32) for _ in range(12)]
        windows = [Window(float(n), n + 1.0, data) for n, data in enumerate(given)]
        results = list(device.run(windows))
        assert device.wait_delivered(DEADLINE_S)
    output = tmp_path / "windows.npz"
    command = ["fleet", "export", "--store", str(tmp_path / "store.db"), "--samples"]
    assert main([*command, "-o", str(output), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 3
    with np.load(output) as arrays:
        np.testing.assert_array_equal(arrays["windows"], [given[n] for n in (3, 7, 11)])
        assert list(arrays["predicted"]) == [results[n].label or "" for n in (3, 7, 11)]
        assert list(arrays["reasons"]) == ["one in 4"] * 3
        assert list(arrays["devices"]) == ["pump-7"] * 3
    with closing(SQLiteStore(tmp_path / "store.db")) as again:
        assert again.status()[0].results == 12
    assert main([*command, "--model", "another", "-o", str(output)]) != 0
    assert "there is no sample" in capsys.readouterr().err


def test_samples_without_a_way_home_are_refused() -> None:
    with pytest.raises(ConfigError, match="give both"):
        Device("pump-7", model=str(FIXTURE), samples=Samples(one_in=4))


def test_windows_that_do_not_fit_one_file_are_told_apart_by_model(tmp_path: Path) -> None:
    rows = [
        {
            "device": "d", "seq": n, "model": name, "model_version": 1, "label": None,
            "score": None, "reason": "one in 2", "start_s": 0.0, "npy": write_npy(np.zeros(shape)),
        }
        for n, (name, shape) in enumerate((("one", (3, 2)), ("two", (4,))))
    ]  # fmt: skip
    with pytest.raises(ConfigError, match=r"one \[3, 2\], two \[4\].*--model"):
        export_samples(iter(rows), tmp_path / "windows.npz")
    assert export_samples(iter(rows[:1]), tmp_path / "windows.npz") == 1
    with pytest.raises(ConfigError, match=r"\.npz"):
        export_samples(iter(rows), tmp_path / "windows.csv")
    with pytest.raises(StoreError, match="cannot be written"):
        export_samples(iter(rows[:1]), tmp_path / "nowhere" / "windows.npz")
