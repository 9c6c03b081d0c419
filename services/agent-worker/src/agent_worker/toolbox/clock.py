"""What time and what day it is in a city."""

import difflib
import re
import unicodedata
import zoneinfo
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Annotated, Final

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field

_AREAS: Final = frozenset(
    {"Africa", "America", "Antarctica", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific"}
)
_NOISE: Final = re.compile(r"^(?:the )?city of |^downtown |^greater | (?:right now|city|today)$")
_NEAR: Final = 0.8  # similarity from which on a misheard name is taken for a known one
_SEVERAL: Final = frozenset(
    {
        "america",
        "usa",
        "united states",
        "the united states",
        "us",
        "canada",
        "russia",
        "australia",
        "brazil",
        "mexico",
        "indonesia",
    }
)
_ANNOTATIONS: Final = ToolAnnotations(
    read_only_hint=True, idempotent_hint=True, destructive_hint=False, open_world_hint=False
)

City = Annotated[str, Field(description="The city, for example New York", min_length=1, max_length=80)]


def add_clock(server: MCPServer) -> None:
    """Offer the tools for time and date."""
    for function in (time_in_city, date_in_city):
        server.add_tool(function, annotations=_ANNOTATIONS, structured_output=False)


def time_in_city(city: City) -> str:
    """Tell what time it is now in a city: the current local time, the clock."""
    return spoken_time(city, datetime.now(UTC))


def date_in_city(city: City) -> str:
    """Tell today's date in a city: the current day, weekday, month and year."""
    return spoken_date(city, datetime.now(UTC))


def spoken_time(city: str, now: datetime) -> str:
    """ "It is 3:42 PM in New York."

    Raises:
        ToolError: the city is not known.

    """
    name, zone = find_city(city)
    local = now.astimezone(zone)
    return f"It is {local.hour % 12 or 12}:{local:%M} {'AM' if local.hour < 12 else 'PM'} in {name}."


def spoken_date(city: str, now: datetime) -> str:
    """ "It is Friday, November 20, 2026 in New York."

    Raises:
        ToolError: the city is not known.

    """
    name, zone = find_city(city)
    local = now.astimezone(zone)
    return f"It is {local:%A, %B} {local.day}, {local.year} in {name}."


def find_city(said: str) -> tuple[str, zoneinfo.ZoneInfo]:
    """The city's usual name and its time zone; a name that was misheard a little is understood.

    Raises:
        ToolError: no city has such a name; says what it may have been.

    """
    cities = _cities()
    for key, rest in _readings(_key(said)):
        if key in _SEVERAL:
            raise ToolError(f"There are several time zones in {said}: which city do you mean?")
        if key in cities and (rest not in cities or cities[rest][1] == cities[key][1]):
            name, zone = cities[key]
            return name, zoneinfo.ZoneInfo(zone)
    near = difflib.get_close_matches(_key(said), cities, n=3, cutoff=0.6)
    if near and difflib.SequenceMatcher(None, _key(said), near[0]).ratio() >= _NEAR:
        name, zone = cities[near[0]]
        return name, zoneinfo.ZoneInfo(zone)
    guess = f" Did you mean {' or '.join(cities[key][0] for key in near)}?" if near else ""
    raise ToolError(f"I don't know a city called {said}.{guess}")


def known_cities() -> list[tuple[str, str]]:
    """All cities with the names of their time zones."""
    return list(_cities().values())


def _readings(key: str) -> list[tuple[str, str]]:
    """The name as it is, without what may stand around it, and cut before the country: ("paris", "france")."""
    bare = _NOISE.sub("", key)
    words = bare.split()
    cut = [(" ".join(words[:end]), " ".join(words[end:])) for end in range(len(words) - 1, 0, -1)]
    return [(key, ""), (bare, ""), *cut]


@cache
def _cities() -> Mapping[str, tuple[str, str]]:
    """Key → (name, zone): the cities that zones are named after, and those of the table, which win."""
    cities: dict[str, tuple[str, str]] = {}
    for zone in sorted(zoneinfo.available_timezones()):
        area, _, place = zone.partition("/")
        if area in _AREAS and place:
            name = place.rpartition("/")[2].replace("_", " ").replace("St ", "Saint ")
            cities.setdefault(_key(name), (name, zone))
    for line in resources.files(__package__).joinpath("cities.txt").read_text(encoding="utf-8").splitlines():
        zone, colon, names = line.partition(":")
        if colon and not line.startswith("#"):
            cities |= {_key(name): (name.strip(), zone) for name in names.split(",")}
    return cities


def _key(name: str) -> str:
    """A name in lower case, without accents and punctuation; "st" is "saint"."""
    letters = unicodedata.normalize("NFKD", name.casefold().replace("ø", "o"))
    plain = re.sub(r"[^a-z ]+", "", "".join(c for c in letters if not unicodedata.combining(c)).replace("-", " "))
    return " ".join("saint" if word == "st" else word for word in plain.split())
