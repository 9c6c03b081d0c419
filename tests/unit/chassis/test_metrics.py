"""What happens very often is counted at the price of an addition."""

from prometheus_client import generate_latest

from voicebus.chassis.metrics import REGISTRY, Tally


def test_a_tally_is_told_as_any_counter() -> None:
    tally = Tally("test_events_total", "Events")
    try:
        tally.count += 3
        told = generate_latest(REGISTRY).decode()
        assert "# TYPE test_events_total counter\ntest_events_total 3.0\n" in told
    finally:
        REGISTRY.unregister(tally)
