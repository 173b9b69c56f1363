"""What a person at the receiving end sees: tables, JSON, files, exit statuses."""

import csv
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from edgeml.cli.main import main
from edgeml.errors import ConfigError, MissingDependencyError, StoreError
from edgeml.fleet.batches import Batch, EventRow, ResultRow
from edgeml.fleet.export import COLUMNS, export
from edgeml.fleet.localbroker import BrokerKind, LocalBroker, available, free_port
from edgeml.fleet.mosquitto import BrokerPlan, access_list, configuration
from edgeml.fleet.report import (
    by_attention,
    retention_limit,
    status_document,
    status_summary,
    status_table,
)
from edgeml.fleet.store import Delivered, DeviceStatus, Intake
from edgeml.fleet.stores import open_store
from edgeml.result import ModelRef


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.workstation)])
def store_path(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        path = str(tmp_path / "store.db")
    else:
        path = str(request.getfixturevalue("postgres_url"))
    store = open_store(path, create=True)
    rows = tuple(
        ResultRow(n, n, n + 1.0, "walk, fast", 0.5, (0.5,), 1.0, 2.0, 3.0, n, None) for n in (1, 2)
    )
    gap = EventRow(3, 5, 9.0, "gap", {"count": 3, "reason": "disk cap"})
    batches = [
        Delivered("pump", Batch("box", ModelRef("m", 2, "00"), results=rows)),
        Delivered("pump", Batch("box", None, events=(gap,))),
    ]
    store.commit(Intake(batches=batches), 100.0)
    store.close()
    return path


def test_the_status_is_a_table_and_json(
    store_path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fleet", "status", "--store", store_path]) == 0
    table = capsys.readouterr().out
    assert "pump" in table
    assert "walk, fast" in table
    assert main(["fleet", "status", "--store", store_path, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["results"], document["missing"], document["unaccounted"]) == (2, 3, 0)
    assert document["devices"][0]["last_result_s"] == 3.0


def test_the_status_says_how_old_it_is() -> None:
    def device(
        name: str, *, online: bool = True, age_s: float = 0.0, holes: int = 0
    ) -> DeviceStatus:
        health = {"delivery": {"waiting_rows": 4, "oldest_age_s": age_s}}
        return DeviceStatus(name, online, 900.0, "m@1", 5, 0, holes, 890.0, "x", health, 640.0)

    fine, late = device("a"), device("b", age_s=7200.0)
    header, rows = status_table([fine, late], 1000.0)
    seen, oldest, as_of = (header.index(name) for name in ("seen", "oldest", "as of"))
    assert [(row[seen], row[oldest], row[as_of]) for row in rows] == [
        ("100 s ago", "0 s", "6 min ago"),
        ("100 s ago", "2 h", "6 min ago"),
    ]
    # The clock of an ingest was wrong: that is not "just now".
    assert status_table([fine], 700.0)[1][0][seen] == "3 min ahead"
    document = status_document([fine], 1000.0)["devices"][0]
    assert (document["seen_age_s"], document["health_age_s"]) == (100.0, 360.0)
    gone, holed = device("c", online=False), device("d", holes=2)
    order = by_attention([fine, late, gone, holed])
    assert [status.device for status in order] == ["c", "d", "b", "a"]
    assert status_summary(order) == (
        "4 devices, 3 online; 20 results, 0 known to be lost, 2 not here yet"
    )


def test_what_a_device_says_does_not_steer_the_terminal_of_who_looks() -> None:
    said = "\x1b[2J walking\r\nß"
    device = DeviceStatus("a", True, 9.0, said, 5, 0, 0, 8.0, said, {}, None)
    header, rows = status_table([device], 10.0)
    shown = [rows[0][header.index(name)] for name in ("model", "label")]
    assert shown == ["\\x1b[2J walking\\r\\nß"] * 2


def test_a_watched_status_goes_on_until_it_is_told_to_end(store_path: str) -> None:
    arguments = ["--store", store_path, "--watch", "--interval-s", "0.05", "--json"]
    with subprocess.Popen(
        [sys.executable, "-m", "edgeml", "fleet", "status", *arguments],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert [json.loads(process.stdout.readline())["results"] for _ in range(3)] == [2, 2, 2]
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(300) == 0


def test_retention_ends_at_midnight_so_that_whole_days_go() -> None:
    noon_s = 20_000 * 86_400 + 43_200.0
    assert retention_limit(noon_s, 30) == 19_970 * 86_400
    assert retention_limit(noon_s, 0.25) == 20_000 * 86_400


def test_an_export_is_a_file_that_others_read(
    store_path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.csv"
    arguments = ["fleet", "export", "--store", store_path, "-o", str(out), "--json"]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 2
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["device"], row["seq"], row["label"]) for row in rows] == [
        ("pump", "1", "walk, fast"),
        ("pump", "2", "walk, fast"),
    ]
    assert main([*arguments, "--device", "other"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 0


def test_an_export_that_breaks_off_leaves_the_file_of_the_last_one(tmp_path: Path) -> None:
    def broken() -> Iterator[Mapping[str, Any]]:
        yield dict.fromkeys(COLUMNS, 1)
        raise StoreError("the server went away")

    out = tmp_path / "out.csv"
    out.write_text("yesterday's")
    with pytest.raises(StoreError, match="went away"):
        export(broken(), out)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [
        ("out.csv", "yesterday's"),
    ]  # fmt: skip
    with pytest.raises(StoreError, match="cannot be written"):
        export(iter([]), tmp_path / "nowhere" / "out.csv")


@pytest.mark.workstation
def test_an_export_to_parquet_has_the_same_rows_in_types(store_path: str, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    assert main(["fleet", "export", "--store", store_path, "-o", str(out)]) == 0
    table = import_module("pyarrow.parquet").read_table(out)
    assert table.column("seq").to_pylist() == [1, 2]
    assert table.column("outputs").to_pylist() == ["[0.5]", "[0.5]"]
    assert [str(table.schema.field(name).type) for name in ("seq", "end_s", "label")] == [
        "int64", "double", "string",
    ]  # fmt: skip


def test_an_export_to_an_unknown_kind_of_file_is_refused(store_path: str, tmp_path: Path) -> None:
    arguments = ["fleet", "export", "--store", store_path, "-o", str(tmp_path / "out.xls")]
    assert main(arguments) == ConfigError.exit_code


def test_pruning_deletes_what_is_old_and_says_how_much(
    store_path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["fleet", "prune", "--store", store_path, "--json", "--older-than-days"]
    assert main([*arguments, "30"]) == 0
    assert json.loads(capsys.readouterr().out) == {"deleted": 2}
    assert main([*arguments, "0"]) == ConfigError.exit_code


def test_a_store_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    assert main(["fleet", "status", "--store", str(tmp_path / "no.db")]) == StoreError.exit_code


def test_a_broker_url_with_a_typo_is_an_error(tmp_path: Path) -> None:
    arguments = ["fleet", "ingest", "--broker", "mqt://host", "--store", str(tmp_path / "s.db")]
    assert main(arguments) == ConfigError.exit_code


@pytest.mark.parametrize("option", ["--password-file", "--ca-file", "--cert-file", "--key-file"])
def test_a_secret_that_is_not_there_is_an_error_at_once(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["fleet", "ingest", "--broker", "mqtts://nowhere", "--store", str(tmp_path / "s.db")]
    assert main([*command, option, str(tmp_path / "none")]) == ConfigError.exit_code
    assert f"{option} {tmp_path / 'none'}: cannot be read" in capsys.readouterr().err


def test_an_ingest_that_is_told_to_end_says_what_it_did(tmp_path: Path) -> None:
    arguments = ["--broker", "mqtt://127.0.0.1:1", "--store", str(tmp_path / "s.db"), "--json"]
    with subprocess.Popen(
        [sys.executable, "-m", "edgeml", "fleet", "ingest", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        while not (tmp_path / "s.db").exists():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(300) == 0
        assert process.stdout is not None
        assert json.load(process.stdout)["rows"] == 0


WITHOUT_NUMPY = """
import os, signal, sys
from edgeml.cli.main import main
from edgeml.fleet.ingest import Ingest
store, out = sys.argv[1:]
begin = Ingest.step
def once(self, timeout_s):
    begin(self, 0.0)
    os.kill(os.getpid(), signal.SIGTERM)
Ingest.step = once
status = main(["fleet", "ingest", "--broker", "mqtt://127.0.0.1:1", "--store", store])
status = status or main(["fleet", "status", "--store", store])
status = status or main(["fleet", "export", "--store", store, "-o", out])
sys.exit(status or "numpy" in sys.modules)
"""


def test_an_ingest_a_status_and_an_export_of_results_need_no_numpy(
    store_path: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", WITHOUT_NUMPY, store_path, str(tmp_path / "out.csv")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.csv").read_text().count("\n") == 3


def test_the_access_list_gives_a_device_its_own_topics_only(tmp_path: Path) -> None:
    plan = BrokerPlan("plant", tmp_path, tmp_path / "ca", tmp_path / "cert", tmp_path / "key")
    lines = access_list(plan).splitlines()
    device = lines[: lines.index("user ingest")]
    writes = [line.split()[-1] for line in device if line.startswith("pattern write")]
    assert all(t.startswith(("edgeml/1/plant/d/%u/", "edgeml/1/plant/want/")) for t in writes)
    assert "edgeml/1/plant/d/%u/results" in writes
    assert "edgeml/1/plant/d/%u/ack" not in writes
    assert "allow_anonymous false" in configuration(plan)
    assert "persistence true" in configuration(plan)
    assert "max_queued_messages 10000" in configuration(plan)
    assert "max_queued_messages 60000" in configuration(replace(plan, devices=30_000))


def test_one_user_for_two_roles_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="use two users"):
        BrokerPlan("plant", tmp_path, tmp_path, tmp_path, tmp_path, ingest_user="publisher")


def test_without_any_broker_the_error_names_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edgeml.fleet.localbroker.find_mosquitto", lambda: None)
    monkeypatch.setattr("edgeml.fleet.localbroker.find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match=r"apt install mosquitto.*pip install amqtt"):
        available()


def test_a_broker_that_ends_at_once_is_an_error() -> None:
    broker = LocalBroker(
        BrokerKind("false", (sys.executable, "-c", "raise SystemExit(3)")), free_port()
    )
    with pytest.raises(ConnectionError, match="status 3"):
        broker.start()
    assert not broker.running


def test_a_killed_broker_comes_back_on_its_port() -> None:
    with LocalBroker() as broker:
        url = broker.url
        broker.kill()
        assert not broker.running
        broker.start()
        assert (broker.running, broker.url) == (True, url)
