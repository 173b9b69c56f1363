"""The emulated machines keep their promises: real ARM Python, real children, exact counts."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from armlab import LabError, Machine, count_instructions, prepare, python

pytestmark = pytest.mark.arm

CHECKOUT = Path(__file__).resolve().parents[2]
GUEST = Path(__file__).parent / "guest"


def said_by(machine: Machine, *arguments: str) -> str:
    """What `python ARGUMENTS` prints on the machine."""
    done = subprocess.run(
        [str(python(machine)), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_machine_is_the_board_it_says_it_is(machine: Machine) -> None:
    """Processor, C library, Python and core are those of Raspberry Pi OS Bookworm."""
    ask = (
        "import platform, sys; print(platform.machine(), platform.libc_ver()[1], "
        "platform.python_version_tuple()[:2], sys.byteorder)"
    )
    assert said_by(machine, "-c", ask) == f"{machine.machine} 2.36 ('3', '11') little"
    board = machine.core(machine.default_core).board
    assert board in said_by(machine, "-c", "print(open('/proc/cpuinfo').read())")


def test_a_machine_has_the_interpreter_and_the_numpy_of_its_kind(machine: Machine) -> None:
    """LiteRT and numpy 2 on 64 bits, tflite-runtime and Debian's numpy 1.24 on 32."""
    ask = f"import numpy, {machine.interpreter}.interpreter; print(numpy.__version__)"
    expected = {"arm64": "2.", "armhf": "1.24."}[machine.name]
    assert said_by(machine, "-c", ask).startswith(expected)


def test_children_run_on_the_same_machine_and_die_as_told(machine: Machine) -> None:
    """sys.executable, spawn, SIGKILL, threads and files work as on a board."""
    report = json.loads(said_by(machine, str(GUEST / "children.py")))
    assert report == {
        "executable": str(python(machine)),
        "machine": machine.machine,
        "subprocess": machine.machine,
        "empty environment": machine.machine,
        "isolated": machine.machine,
        "host shell": os.uname().machine,
        "spawn": machine.machine,
        "killed": -signal.SIGKILL,
        "thread": machine.machine,
        "temporary file": "kept",
    }


def test_a_machine_that_stands_is_not_built_again(machine: Machine) -> None:
    """Setup is idempotent: the second call finds the stamp."""
    stamp = prepare(machine) / "stamp"
    before = stamp.stat().st_mtime_ns
    prepare(machine)
    assert stamp.stat().st_mtime_ns == before


def test_a_program_costs_the_same_number_of_instructions_every_time(machine: Machine) -> None:
    """Not one instruction is left to chance."""
    program = ["-c", "import json, random; json.dumps(sorted({'a', 'b', 'c'}))"]
    core = machine.default_core
    counts = {count_instructions(machine, core, program) for _ in range(3)}
    assert len(counts) == 1
    assert counts.pop() > 10_000_000


def test_numpy_costs_the_same_but_for_the_seed_of_its_generator(machine: Machine) -> None:
    """numpy.random seeds itself from the kernel when it is imported: 1 in 10 000, no more."""
    core = machine.default_core
    first, second = (
        count_instructions(machine, core, ["-c", "import numpy.random"]) for _ in range(2)
    )
    assert first == pytest.approx(second, rel=1e-4)


def test_a_longer_loop_costs_in_proportion(machine: Machine) -> None:
    """The difference of two counts is the cost of the difference in work, to 1 in 1000."""

    def loop(turns: int) -> int:
        program = f"for _ in range({turns}): pass"
        return count_instructions(machine, machine.default_core, ["-c", program])

    few, some, many = (loop(turns) for turns in (100_000, 200_000, 400_000))
    assert (many - some) / 200_000 == pytest.approx((some - few) / 100_000, rel=1e-3)


def test_a_program_that_fails_has_no_count(machine: Machine) -> None:
    """A crash is an error, never a small number."""
    with pytest.raises(LabError, match="status 3"):
        count_instructions(machine, machine.default_core, ["-c", "raise SystemExit(3)"])


def test_every_core_of_a_machine_runs_its_interpreter(machine: Machine, tmp_path: Path) -> None:
    """XNNPACK chooses kernels by core: each choice must be one that the emulator has."""
    for name, core in machine.cores.items():
        done = subprocess.run(
            [
                str(python(machine)),
                "-c",
                f"import {machine.interpreter}.interpreter; print(open('/proc/cpuinfo').read())",
            ],
            env={"EDGEML_ARMLAB_CORE": name, "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert core.part in done.stdout


def test_the_cost_of_an_inference_is_the_same_from_any_pair_of_runs(machine: Machine) -> None:
    """(M runs - N runs) / (M - N) does not depend on N and M, to 1 in 1000."""
    bundle = next((CHECKOUT / "models" / "digits").glob("*.tflite"))

    def runs(count: int) -> int:
        arguments = [str(GUEST / "infer.py"), str(count), str(bundle)]
        return count_instructions(machine, machine.default_core, arguments)

    few, some, many = (runs(count) for count in (500, 1500, 3500))
    assert (many - some) / 2000 == pytest.approx((some - few) / 1000, rel=1e-3)


def test_the_lab_prints_what_one_inference_of_each_model_costs(machine: Machine) -> None:
    """`lab.py cost` is what `edgeml convert --target` asks."""
    fixtures = CHECKOUT / "tests" / "fixtures"
    models = [str(fixtures / f"classifier_{kind}.tflite") for kind in ("int8", "float")]
    lab = str(CHECKOUT / "tests" / "arm" / "lab.py")
    done = subprocess.run(
        [sys.executable, lab, "cost", machine.name, *models],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    assert set(counts) == set(models)
    assert all(1_000 < count < 5_000_000 for count in counts.values())


def test_bench_counts_the_instructions_of_a_prediction(
    machines_with_edgeml: tuple[Machine, ...],
) -> None:
    """`edgeml bench` finds the lab by EDGEML_ARM_LAB, and says what a prediction costs a Pi."""
    bundle = CHECKOUT / "models" / "activity" / "activity.tflite"
    words = [sys.executable, "-m", "edgeml", "bench", str(bundle), "--json", "--runs", "10"]
    for each in machines_with_edgeml:
        done = subprocess.run(
            [*words, "--board", each.name],
            env={**os.environ, "EDGEML_ARM_LAB": str(CHECKOUT / "tests" / "arm" / "lab.py")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert 50_000 < json.loads(done.stdout)["instructions"] < 5_000_000
