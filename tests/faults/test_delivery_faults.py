"""Nothing lost, nothing doubled, whatever breaks: seeded runs over real processes.

Three devices, a Mosquitto as it comes, without persistence, and an ingest. A
schedule that follows from the seed kills each of them, tears their lines, fills
their disks and sets their clocks by a day, while proxies repeat and swap
messages in both directions. EDGEML_FAULT_RUNS says how many runs (10),
EDGEML_FAULT_SEED the first seed (0); a run that fails names its seed, which
makes it again.
"""

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.accounts import settle
from tests.faults.plant import Plant
from tests.faults.schedule import DEVICES, KINDS, schedule

pytestmark = pytest.mark.faults

RUNS = int(os.environ.get("EDGEML_FAULT_RUNS", "10"))
FIRST_SEED = int(os.environ.get("EDGEML_FAULT_SEED", "0"))


@pytest.mark.parametrize("seed", range(200))
def test_every_run_has_every_kind_of_fault_and_a_seed_makes_it_again(seed: int) -> None:
    plan = schedule(seed)
    assert {fault.kind for fault in plan.faults} == KINDS.keys()
    assert plan == schedule(seed)
    assert plan != schedule(seed + 1)


def test_the_runs_have_every_target_both_directions_of_the_clock_and_both_caps() -> None:
    plans = [schedule(seed) for seed in range(200)]
    faults = [fault for plan in plans for fault in plan.faults]
    assert {f.target for f in faults if f.kind == "kill device"} == set(DEVICES)
    assert {f.target for f in faults if f.kind == "fill disk"} == {"devices", "store"}
    assert {f.target for f in faults if f.kind == "tear lines"} == {"devices", "ingest"}
    assert {f.amount for f in faults if f.kind == "set clock"} == {-86_400.0, 86_400.0}
    assert len({plan.cap_bytes for plan in plans}) == 2


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + RUNS))
def test_everything_durable_arrives_exactly_once(seed: int, tmp_path: Path) -> None:
    print(f"seed {seed}: EDGEML_FAULT_SEED={seed} EDGEML_FAULT_RUNS=1 makes this run again")
    plan = schedule(seed)
    plant = Plant(tmp_path, seed, plan)
    try:
        plant.wait_for_results()
        plant.suffer()
        plant.drain()
        accounts = [
            settle(device, tmp_path, plant.store, plant.outbox(device)) for device in DEVICES
        ]
    except BaseException:
        plant.keep()
        raise
    finally:
        plant.close()
    proxies = plant.proxies.values()
    assert sum(proxy.doubled for proxy in proxies), "the proxies doubled nothing"
    assert sum(proxy.swapped for proxy in proxies), "the proxies swapped nothing"
    print(
        f"seed {seed}: {dict(Counter(fault.kind for fault in plan.faults))}, "
        f"doubled {sum(proxy.doubled for proxy in proxies)}, "
        f"swapped {sum(proxy.swapped for proxy in proxies)}, {accounts}"
    )
