"""What `doctor` says of the workers, as the gateway's health tells of them."""

from collections.abc import Iterator, Mapping
from typing import Any

from voicebus_client.cli.findings import Finding, good, warning, wrong

_STALE_S = 10.0  # that mail may wait


def stage_findings(stages: object, gateway_version: str) -> Iterator[Finding]:
    """One for each stage, and one for each of its workers. What is not known here is shown as it is."""
    if not isinstance(stages, Mapping):
        return
    for name, stage in stages.items():
        if not isinstance(stage, Mapping):
            yield good(str(name), str(stage))
            continue
        yield _stage(str(name), stage)
        listed = stage.get("listed")
        for worker in listed if isinstance(listed, list) else ():
            if isinstance(worker, Mapping):
                yield _worker(worker, gateway_version)
        if dead := stage.get("dead_letters"):
            text = f"{dead} of what {name} was to do was given up"
            yield warning("", text, f"See `voicebus dead-letters list --stage {name}`.")


def _stage(name: str, stage: Mapping[str, Any]) -> Finding:
    count = stage.get("workers")
    text = f"{count} worker{'' if count == 1 else 's'}, {stage.get('held')} of {stage.get('capacity')} sessions"
    if waiting := stage.get("waiting"):
        text += f", {waiting} wait, the longest for {stage.get('oldest_waiting_s')} s"
    if not count:
        return wrong(
            name, str(stage.get("reason") or f"no {name} worker"), f"Start a {name} worker, or look at its log."
        )
    if stage.get("state") != "healthy":
        return warning(name, f"{text}: {stage.get('reason')}", "Look at the logs of the workers below.")
    oldest_s = stage.get("oldest_waiting_s")
    if isinstance(oldest_s, int | float) and oldest_s > _STALE_S:
        return warning(name, text, f"Start more {name} workers.")
    return good(name, text)


def _worker(worker: Mapping[str, Any], gateway_version: str) -> Finding:
    details = worker.get("details")
    told = details.items() if isinstance(details, Mapping) else ()
    text = f"{worker.get('name')} {worker.get('version')}" + "".join(f", {name} {value}" for name, value in told)
    if worker.get("state") != "ready":
        reason = worker.get("reason")
        return warning("", f"{text}: {worker.get('state')}" + (f", {reason}" if reason else ""), "Look at its log.")
    if down := [name.removeprefix("mcp:") for name, value in told if value == "down"]:
        return warning("", text, f"Start the tool server {', '.join(down)}, or take it out of the mcpServers file.")
    if worker.get("version") != gateway_version:
        return warning("", text, f"The gateway is {gateway_version}: deploy the same version of both.")
    return good("", text)
