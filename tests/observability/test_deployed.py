"""What is deployed for Prometheus and Grafana is valid by itself."""

import json
from pathlib import Path
from typing import Any

import pytest
from observability.prometheus import HOW_TO_GET, MISSING, promtool

DASHBOARDS = sorted((Path(__file__).parents[2] / "deploy" / "grafana" / "dashboards").glob("*.json"))
WIDTH = 24  # of Grafana's grid
needs_promtool = pytest.mark.skipif(bool(MISSING), reason=HOW_TO_GET)


@needs_promtool
@pytest.mark.parametrize(
    "arguments",
    [("check", "config", "prometheus.yml"), ("check", "rules", "alerts.yml"), ("test", "rules", "alerts.test.yml")],
    ids=" ".join,
)
def test_promtool_is_content(arguments: tuple[str, ...]) -> None:
    done = promtool(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(params=DASHBOARDS, ids=lambda path: path.stem)
def dashboard(request: pytest.FixtureRequest) -> Any:
    return json.loads(request.param.read_text())


def test_panels_have_their_own_names_and_places(dashboard: Any) -> None:
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: dict[tuple[int, int], str] = {}
    row = ""
    titles = set()
    for panel in panels:
        row = panel["title"] if panel["type"] == "row" else row
        assert (row, panel["title"], panel["type"]) not in titles
        titles.add((row, panel["title"], panel["type"]))
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= WIDTH
        for cell in ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])):
            assert taken.setdefault(cell, panel["title"]) == panel["title"]


def test_every_query_goes_to_the_chosen_data_source(dashboard: Any) -> None:
    (variable,) = dashboard["templating"]["list"]
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    chosen = {"type": "prometheus", "uid": "${" + variable["name"] + "}"}
    for panel in dashboard["panels"]:
        if panel["type"] != "row":
            assert [panel["datasource"], *(target["datasource"] for target in panel["targets"])] == [
                chosen,
                *(chosen for _ in panel["targets"]),
            ]
            assert all(target["expr"] for target in panel["targets"])
