"""Sound arrives in order, on time, and what is lost is counted."""

from typing import Any

import numpy as np
import pytest

from edgeml.clock import ManualClock
from edgeml.errors import ConfigError, SensorError
from edgeml.sensors import Microphone
from edgeml.sensors.fakes import FakeSoundCard
from edgeml.sensors.microphone import MOST_WAITING


def opened(card: FakeSoundCard, clock: ManualClock | None = None, **settings: Any) -> Microphone:
    microphone = Microphone(library=card, rate_hz=1000.0, clock=clock or ManualClock(), **settings)
    microphone.open()
    return microphone


def sound(count: int, start: int = 0, channels: int = 1) -> Any:
    return np.tile(np.arange(start, start + count, dtype=np.float32)[:, None] / 1e4, channels)


def test_blocks_become_samples_in_order_one_period_apart() -> None:
    card, clock = FakeSoundCard(), ManualClock(now_s=10.0)
    microphone = opened(card, clock)
    clock.advance(0.1)
    card.hear(sound(50))
    card.hear(sound(50, 50))
    samples = microphone.read(0.0).samples
    assert [s.values[0] for s in samples] == pytest.approx([i / 1e4 for i in range(100)])
    np.testing.assert_allclose([s.time_s for s in samples], 10.001 + np.arange(100) / 1000)
    assert samples[0].values.shape == (1,)


def test_the_cards_own_memory_is_not_kept() -> None:
    card = FakeSoundCard()
    microphone = opened(card)
    block = sound(10)
    card.hear(block)
    block[:] = 9
    assert microphone.read(0.0).samples[5].values[0] == np.float32(5 / 1e4)


def test_what_the_card_or_the_queue_lost_is_counted() -> None:
    card = FakeSoundCard()
    microphone = opened(card)
    card.hear(sound(10), overflow=True)
    assert microphone.read(0.0).lost == 1
    for _ in range(MOST_WAITING + 3):
        card.hear(sound(10))
    batch = microphone.read(0.0)
    assert batch.lost == 3
    assert len(batch.samples) == 10 * MOST_WAITING


def test_sound_that_was_lost_between_two_blocks_that_wait_is_a_gap_there() -> None:
    card, clock = FakeSoundCard(), ManualClock(now_s=10.0)
    microphone = opened(card, clock)
    for lost_s, overflow in ((0.0, False), (0.0, False), (0.1, True), (0.0, False)):
        clock.advance(0.05 + lost_s)
        card.hear(sound(50), overflow=overflow)
    clock.advance(1.0)  # this process is late: what was lost came before that
    batch = microphone.read(0.0)
    assert batch.lost == 1
    steps = np.diff([sample.time_s for sample in batch.samples])
    assert int(steps.argmax()) == 99  # the first of the third block
    assert steps[99] == pytest.approx(0.101)
    assert np.delete(steps, 99) == pytest.approx(0.001)
    assert batch.samples[-1].time_s == pytest.approx(10.3)


def test_what_the_queue_lost_is_a_gap_before_the_oldest_that_it_kept() -> None:
    card, clock = FakeSoundCard(), ManualClock(now_s=10.0)
    microphone = opened(card, clock)
    times = []
    for count in (1, MOST_WAITING + 3):
        for _ in range(count):
            clock.advance(0.01)
            card.hear(sound(10))
        times += [sample.time_s for sample in microphone.read(0.0).samples]
    assert np.diff(times)[9] == pytest.approx(0.031)
    assert np.diff(times)[10:] == pytest.approx(0.001)


def test_two_channels_have_two_names() -> None:
    card = FakeSoundCard()
    microphone = opened(card, channels=2)
    card.hear(sound(4, channels=2))
    assert microphone.channel_names == ("sound_0", "sound_1")
    assert microphone.read(0.0).samples[0].values.shape == (2,)


def test_silence_is_an_empty_read_and_a_card_that_stopped_is_an_error() -> None:
    card = FakeSoundCard()
    microphone = opened(card)
    assert microphone.read(0.0).samples == ()
    card.unplug()
    with pytest.raises(SensorError, match="unplugged"):
        microphone.read(0.0)
    microphone.close()
    with pytest.raises(SensorError, match="python -m sounddevice"):
        microphone.open()


def test_nothing_of_before_is_left_after_opening_again() -> None:
    card = FakeSoundCard()
    microphone = opened(card)
    card.hear(sound(10))
    microphone.close()
    microphone.open()
    assert microphone.read(0.0).samples == ()


@pytest.mark.parametrize("settings", [{"channels": 0}, {"block_s": 0}, {"rate_hz": -1.0}])
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Microphone(**settings)
