"""What grows is told from what only goes up and down, or settles."""

import random

import pytest
from faults.gauges import MB, Gauges

MINUTE_S = 60.0


def gauges(**samples: list[float]) -> Gauges:
    found = Gauges([number * MINUTE_S for number in range(len(next(iter(samples.values()))))])
    found.samples = {name.replace("_of_", " "): values for name, values in samples.items()}
    return found


def test_what_settles_in_the_first_half_is_flat() -> None:
    settling = [100 * MB * (1 - 0.5 ** (number / 2)) for number in range(40)]
    assert gauges(rss_of_gateway=settling).growing() == []


def test_what_goes_up_and_down_is_flat_and_a_few_odd_samples_do_not_matter() -> None:
    chance = random.Random(1)
    noisy = [100.0 + chance.uniform(-10, 10) for _ in range(40)]
    noisy[-1] = 10_000
    assert gauges(keys=noisy).growing() == []


@pytest.mark.parametrize(("name", "each"), [("rss_of_tts", 0.5 * MB), ("fds_of_stt", 1), ("keys", 3)])
def test_what_grows_steadily_is_found(name: str, each: float) -> None:
    (found,) = gauges(**{name: [(20 + number) * each for number in range(40)]}).growing()
    assert found.startswith(name.replace("_of_", " "))


def test_a_gauge_of_another_kind_may_grow() -> None:
    assert gauges(sessions=[float(number) for number in range(40)]).growing() == []
