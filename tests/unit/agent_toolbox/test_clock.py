import zoneinfo
from datetime import UTC, datetime

import pytest
from mcp.server.mcpserver.exceptions import ToolError

from agent_worker.toolbox.clock import find_city, known_cities, spoken_date, spoken_time

NOW = datetime(2026, 11, 20, 20, 42, tzinfo=UTC)


@pytest.mark.parametrize(
    ("city", "answer"),
    [
        ("new york", "It is 3:42 PM in New York."),
        ("New York City", "It is 3:42 PM in New York."),
        ("new your", "It is 3:42 PM in New York."),
        ("são paulo", "It is 5:42 PM in Sao Paulo."),
        ("st louis", "It is 2:42 PM in Saint Louis."),
        ("paris france", "It is 9:42 PM in Paris."),
        ("the city of london", "It is 8:42 PM in London."),
        ("tokio", "It is 5:42 AM in Tokyo."),
        ("kathmandu", "It is 2:27 AM in Kathmandu."),
        ("mumbai", "It is 2:12 AM in Mumbai."),
        ("japan", "It is 5:42 AM in Japan."),
    ],
)
def test_the_time_in_a_city(city: str, answer: str) -> None:
    assert spoken_time(city, NOW) == answer


def test_noon_and_midnight_are_twelve() -> None:
    assert spoken_time("london", NOW.replace(hour=0, minute=5)) == "It is 12:05 AM in London."
    assert spoken_time("london", NOW.replace(hour=12, minute=0)) == "It is 12:00 PM in London."


def test_the_date_may_be_another_one_elsewhere() -> None:
    assert spoken_date("new york", NOW) == "It is Friday, November 20, 2026 in New York."
    assert spoken_date("sydney", NOW) == "It is Saturday, November 21, 2026 in Sydney."


@pytest.mark.parametrize(
    ("city", "error"),
    [
        ("xyzzy", "I don't know a city called xyzzy."),
        ("paris texas", "I don't know a city called paris texas."),
        ("america", "There are several time zones in america"),
        ("Londinium", "Did you mean"),
    ],
)
def test_what_it_does_not_know_it_says(city: str, error: str) -> None:
    with pytest.raises(ToolError, match=error):
        spoken_time(city, NOW)


def test_every_city_of_the_table_has_a_zone_and_is_found_by_its_name() -> None:
    cities = known_cities()
    assert len(cities) > 900
    for name, zone in cities:
        assert find_city(name)[1] == zoneinfo.ZoneInfo(zone)


def test_the_zones_come_with_the_package_where_the_system_has_none() -> None:
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath(())
    try:
        zoneinfo.ZoneInfo.clear_cache()
        assert spoken_time("new york", NOW) == "It is 3:42 PM in New York."
    finally:
        zoneinfo.reset_tzpath(before)
