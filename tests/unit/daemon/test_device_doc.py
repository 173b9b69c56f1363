"""Every file in docs/device.md is one that `edgeml run` reads, and its table misses no section."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from edgeml.daemon.config import DaemonConfig, parse_config
from edgeml.tomlread import read_toml

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "device.md").read_text("utf-8")
FILES = re.findall(r"^```toml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("text", FILES, ids=["the shortest", "two sensors"])
def test_every_file_on_the_page_is_read(text: str, tmp_path: Path) -> None:
    path = tmp_path / "device.toml"
    path.write_text(text)
    config = parse_config(read_toml(path), tmp_path)
    assert config.device_id == "pump-7"
    assert set(config.models) == set(config.sources)


def test_the_page_names_every_section_and_every_key_of_the_device() -> None:
    named = set(re.findall(r"`\[?(\w+)", PAGE))
    known = {field.name for field in fields(DaemonConfig)} - {"device_id", "models"}
    assert known <= named
