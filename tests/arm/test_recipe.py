"""What the lab decides without a machine: the core's description, the archive, the errors."""

from pathlib import Path

import pytest
from armlab import MACHINES, LabError, build, host, machine_named
from armlab.emulate import plugin_api
from armlab.suite import newest_wheel

pytestmark = pytest.mark.arm


def test_the_cores_of_a_board_are_described_as_linux_describes_them() -> None:
    text = MACHINES["arm64"].core("pi5").cpuinfo()
    assert text.count("processor\t: ") == 4
    assert "CPU part\t: 0xd0b" in text
    assert "asimddp" in text


def test_an_unknown_machine_or_core_names_the_ones_there_are() -> None:
    with pytest.raises(LabError, match="no machine 'riscv'; there are arm64, armhf"):
        machine_named("riscv")
    with pytest.raises(LabError, match="armhf has no core 'pi5'; it has pi4, pi2"):
        MACHINES["armhf"].core("pi5")


def test_wheels_built_for_a_newer_c_library_than_the_boards_are_not_asked_for() -> None:
    platforms = MACHINES["armhf"].wheel_platforms()
    assert platforms[0] == "manylinux_2_36_armv7l"
    assert platforms[-1] == "manylinux2014_armv7l"
    assert not any("aarch64" in platform for platform in platforms)


def test_another_set_of_requirements_is_another_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine = MACHINES["arm64"]
    monkeypatch.setattr(host, "emulator", lambda qemu: f"/usr/bin/{qemu}")
    before = build.recipe_digest(machine)
    changed = tmp_path / "arm64.txt"
    changed.write_bytes(build.requirements_file(machine).read_bytes() + b"\n# changed\n")
    monkeypatch.setattr(build, "requirements_file", lambda _: changed)
    assert build.recipe_digest(machine) != before


def test_a_moved_lab_is_another_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = MACHINES["arm64"]
    monkeypatch.setattr(host, "emulator", lambda qemu: f"/usr/bin/{qemu}")
    before = build.recipe_digest(machine)
    monkeypatch.setenv("EDGEML_ARMLAB", str(tmp_path))
    assert build.recipe_digest(machine) != before


def test_debians_main_archive_is_told_from_its_security_one_and_from_ubuntus() -> None:
    assert host.debian_among(["http://mirror.example/debian-security/"]) is None
    assert host.debian_among(["http://mirror.example/ubuntu/"]) is None
    found = host.debian_among(["http://a.example/debian-security/", "http://b.example/debian/"])
    assert found == "http://b.example/debian/"


def test_elsewhere_the_archive_is_debootstraps_default() -> None:
    script = 'VERSION=1\nDEF_MIRROR="http://mirror.example/debian"\nDEF_HTTPS_MIRROR="x"\n'
    assert host.default_mirror(script) == "http://mirror.example/debian"
    assert host.default_mirror("nothing of the kind") is None


def test_a_host_without_apt_is_told_what_the_lab_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(LabError, match="needs a Debian or Ubuntu host"):
        host.require_tools()


def test_a_user_without_rights_is_told_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "missing_packages", lambda: ["qemu-user", "gcc"])
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    command = "sudo apt-get install --yes --no-install-recommends qemu-user gcc"
    with pytest.raises(LabError, match=command):
        host.require_tools()


def test_the_plugin_speaks_the_api_of_the_qemu_that_is_there() -> None:
    assert plugin_api("qemu-aarch64 version 7.2.22 (Debian 1:7.2+dfsg-7)") == 1
    assert plugin_api("qemu-arm version 10.0.2") == 2
    with pytest.raises(LabError, match="QEMU version"):
        plugin_api("no such thing")


def test_a_missing_wheel_names_the_command_that_builds_it(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="make wheel"):
        newest_wheel(tmp_path)
