"""Every panel and every alert looks at something that is there: none has a typing error or an outdated name."""

import asyncio
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from observability.installation import Installation, running_installation
from observability.load import misbehave, talk
from observability.prometheus import HOW_TO_GET, MISSING, Prometheus, running_prometheus
from support.report import Show

DASHBOARDS = Path(__file__).parents[2] / "deploy" / "grafana" / "dashboards"
COMPARISON = re.compile(r"\s(?:<|>|<=|>=|==|!=)\s[\d.]+$")
RATE_INTERVAL = "15s"
PATIENCE_S = 30.0

pytestmark = [
    pytest.mark.skipif("OBSERVABILITY" not in os.environ, reason="takes a minute: make observability-test"),
    pytest.mark.skipif(bool(MISSING), reason=HOW_TO_GET),
    pytest.mark.timeout(300),
]


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    (tmp_path / "stack").mkdir()
    with running_installation(tmp_path / "stack") as running:
        yield running


@pytest.fixture
def prometheus(installation: Installation, tmp_path: Path) -> Iterator[Prometheus]:
    (tmp_path / "prometheus").mkdir()
    with running_prometheus(tmp_path / "prometheus", installation.ports) as running:
        yield running


def panels() -> dict[str, str]:
    """The queries of all dashboards, by panel."""
    found = {}
    for file in DASHBOARDS.glob("*.json"):
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel.get("targets", ()):
                found[f"{panel['id']} {panel['title']} / {target['refId']}"] = target["expr"].replace(
                    "$__rate_interval", RATE_INTERVAL
                )
    return found


async def without_data(
    prometheus: Prometheus, queries: dict[str, str], since_s: float, *, patience_s: float = PATIENCE_S
) -> dict[str, str]:
    """Those that never had a value, as soon as there is none, or after some time."""
    until = time.monotonic() + patience_s
    while True:
        now = time.time()
        queries = {
            name: query for name, query in queries.items() if not prometheus.values(query, since_s=since_s, until_s=now)
        }
        if not queries or time.monotonic() > until:
            return queries
        await asyncio.sleep(1)


async def test_every_panel_and_alert_has_data_after_some_load(
    installation: Installation, prometheus: Prometheus, show: Show
) -> None:
    since_s = time.time()
    session_id = await talk(installation)
    await misbehave(installation, session_id)

    alerts = {f"alert {name}": COMPARISON.sub("", query) for name, query in prometheus.alerts().items()}
    assert all(COMPARISON.search(query) for query in prometheus.alerts().values())
    queries = panels() | alerts
    assert len(queries) > 80
    assert await without_data(prometheus, queries, since_s) == {}
    wrong = {"no such metric": "voicebus_no_such_metric", "no such series": 'up{job="nobody"}', "never": "up > 7"}
    assert await without_data(prometheus, wrong | {"there": "up"}, since_s, patience_s=0) == wrong
    assert prometheus.down() == []
    assert "VoicebusEventsLost" in prometheus.firing()  # a client claimed events that nobody has
    show(f"observability: {len(panels())} queries of panels and {len(alerts)} alerts have data")
