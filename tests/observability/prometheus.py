"""A real Prometheus with the configuration that is deployed."""

import json
import math
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from voicebus_stack.ports import free_port
from voicebus_stack.redis_server import wait_for_port

DEPLOYED = Path(__file__).parents[2] / "deploy" / "prometheus"
PROGRAMS = ("prometheus", "promtool")
MISSING = [name for name in PROGRAMS if shutil.which(name) is None]
HOW_TO_GET = f"{' and '.join(MISSING)} not on the PATH: `apt-get install prometheus` has both"

_FOUND_BY_NAME = re.compile(r"dns_sd_configs:\n\s+- \{names: \[(\S+)\], type: A, port: \d+, refresh_interval: \S+\}")


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *arguments], cwd=DEPLOYED, capture_output=True, text=True, check=False)


@dataclass(frozen=True)
class Prometheus:
    """Where it listens."""

    url: str

    def ask(self, path: str, **query: str | float) -> Any:
        """The `data` of an answer of its API."""
        answer = httpx2.get(f"{self.url}/api/v1/{path}", params=query, timeout=10).json()
        assert answer["status"] == "success", f"{query}: {answer.get('error')}"
        return answer["data"]

    def values(self, expression: str, *, since_s: float, until_s: float) -> list[float]:
        """What the expression was at each second of this time, of all its series; without NaN."""
        data = self.ask("query_range", query=expression, start=since_s, end=until_s, step=1)
        found = [float(value) for series in data["result"] for _, value in series["values"]]
        return [value for value in found if not math.isnan(value)]

    def wait_until_all_are_scraped(self, timeout_s: float = 30.0) -> None:
        """Whatever is counted from now on grows, for Prometheus knows from what number.

        Raises:
            TimeoutError: some target did not answer in this time.
        """
        until = time.monotonic() + timeout_s
        while not (targets := self.ask("targets", state="active")["activeTargets"]) or self.down():
            if time.monotonic() > until:
                raise TimeoutError(f"not scraped: {self.down() or targets}")
            time.sleep(0.1)

    def down(self) -> list[str]:
        """Targets that don't answer, with the reason."""
        targets = self.ask("targets", state="active")["activeTargets"]
        return [f"{each['labels']['job']}: {each['lastError']}" for each in targets if each["health"] != "up"]

    def alerts(self) -> dict[str, str]:
        """The expression of each alert."""
        groups = self.ask("rules", type="alert")["groups"]
        return {rule["name"]: rule["query"] for group in groups for rule in group["rules"]}

    def firing(self) -> set[str]:
        return {alert["labels"]["alertname"] for alert in self.ask("alerts")["alerts"] if alert["state"] == "firing"}


@contextmanager
def running_prometheus(folder: Path, ports: Mapping[str, Sequence[int]]) -> Iterator[Prometheus]:
    """It scrapes these ports of 127.0.0.1, by service, each second; stops at the end."""
    port = free_port()
    config = folder / "prometheus.yml"
    config.write_text(_config(dict(ports), port))
    shutil.copy(DEPLOYED / "alerts.yml", folder)
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stderr=log)
    try:
        wait_for_port(port, timeout_s=30)
        prometheus = Prometheus(f"http://127.0.0.1:{port}")
        prometheus.wait_until_all_are_scraped()
        yield prometheus
    finally:
        process.terminate()
        process.wait(20)


def _config(ports: dict[str, Sequence[int]], own: int) -> str:
    """The deployed one, with addresses in place of names, and without the load balancer, which runs in containers."""

    def addresses(found: re.Match[str]) -> str:
        targets = [f"127.0.0.1:{port}" for port in ports.pop(found[1])]
        return f"static_configs:\n      - targets: {json.dumps(targets)}"

    deployed, _, _ = (DEPLOYED / "prometheus.yml").read_text().partition("\n  - job_name: gateway-lb\n")
    text = _FOUND_BY_NAME.sub(addresses, deployed)
    assert not ports, f"nobody scrapes {', '.join(ports)}"
    assert "dns_sd" not in text
    return re.sub(r"_interval: \w+", "_interval: 1s", text).replace("localhost:9090", f"127.0.0.1:{own}")
