"""docker-compose.yml on a real engine: what a new user starts, and what becomes of it as containers die and roll."""

import asyncio
import re
from collections.abc import Iterator

import pytest
from compose.echo import echoed, echoing
from compose.installation import FRONT, STAGES, Installation, eventually, installation, service, status_of
from compose.turns import LONG, SUM, SUM_ANSWER, ask, check, connected, spoken, until
from support.report import Show

from voicebus_stack.question import bundled_question
from voicebus_stack.turn import Turn, speak

pytestmark = pytest.mark.timeout(900)

KILLED = ("agent-worker", "gateway", "gateway-lb", "redis", "prometheus")


@pytest.fixture(scope="module")
def stack() -> Iterator[Installation]:
    with installation() as running:
        yield running


@pytest.mark.timeout(1_800)
def test_all_is_healthy_and_only_the_front_ports_are_published(stack: Installation, show: Show) -> None:
    show(f"services: {' '.join(stack.services)}")
    assert {service(container) for container in stack.containers()} == {*stack.services, "secrets"}
    assert stack.unhealthy() == {}
    published = {}
    for container in stack.containers():
        container.reload()
        bindings = [binding for ports in container.ports.values() for binding in ports or []]
        if bindings:
            published[service(container)] = {binding["HostIp"] for binding in bindings}
    assert set(published) == FRONT & set(stack.services)
    assert all(addresses == {"127.0.0.1"} for addresses in published.values())
    assert status_of(f"{stack.url}/readyz") == 200


def test_containers_can_do_no_more_than_they_need(stack: Installation) -> None:
    for container in stack.containers():
        name, host = container.name, container.attrs["HostConfig"]
        assert container.attrs["Config"]["User"] not in {"", "0", "root"}, name
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert not host["CapAdd"], name
        assert host["SecurityOpt"] == ["no-new-privileges:true"], name
        assert not host["Privileged"], name
        if service(container) != "secrets":
            assert stack.inside(container, "id", "-u").strip() != "0", name
            code, _ = container.exec_run(["touch", "/not-here"])
            assert code != 0, name
            assert re.search(r"^CapEff:\s0+$", stack.inside(container, "cat", "/proc/1/status"), re.MULTILINE), name


def test_secrets_are_random_in_files_and_outlive_the_containers(stack: Installation) -> None:
    gateway = stack.one("gateway")
    jwt, redis = (stack.inside(gateway, "cat", f"/run/secrets/{name}") for name in ("jwt/secret", "redis/password"))
    assert all(re.fullmatch(r"[0-9a-f]{64}", secret) for secret in (jwt, redis))
    assert jwt != redis
    for container in stack.containers():
        assert not [value for value in container.attrs["Config"]["Env"] if jwt in value or redis in value]
    code, _ = stack.one("agent-worker").exec_run(["ls", "/run/secrets/jwt"])
    assert code != 0  # who runs tools can't sign tokens
    assert "NOAUTH" in stack.inside(stack.one("redis"), "redis-cli", "get", "x")
    token = stack.token()
    stack.compose("up", "-d", "--force-recreate", *stack.services)
    stack.wait_healthy()
    assert status_of(f"{stack.url}/ai/sessions", Authorization=f"Bearer {token}") == 200
    assert status_of(f"{stack.url}/ai/sessions", Authorization=f"Bearer {token}x") == 401
    assert "python -m gateway.token me" in stack.compose("logs", "--no-color", "gateway-lb")


async def test_a_spoken_turn_and_a_written_one(stack: Installation) -> None:
    async with connected(stack) as connection:
        turn = await spoken(connection)
        assert turn.transcript is not None
        assert turn.transcript.data["text"] == "what time is it in new york"
        check(turn)
        check(await ask(connection, SUM), SUM_ANSWER)


def test_metrics_are_not_for_the_world(stack: Installation) -> None:
    for path in ("/metrics", "/%6detrics", "/metrics/"):
        assert status_of(stack.url + path) == 404, path


def test_who_asks_is_not_for_clients_to_say(stack: Installation) -> None:
    claims = {
        "X_Forwarded_For": "198.51.100.1, 198.51.100.2",
        "X_Forwarded_Proto": "https",
        "Forwarded": "for=198.51.100.3",
    }
    with echoing(stack, trusted="127.0.0.1") as url:
        got = echoed(url, **claims)
        assert re.fullmatch(r"(\d+\.){3}\d+", got["x-forwarded-for"])
        assert not got["x-forwarded-for"].startswith("198.51.100.")
        assert got["x-forwarded-proto"] == "http"
        assert "forwarded" not in got
    with echoing(stack, trusted="192.0.2.1,0.0.0.0/0") as url:
        got = echoed(url, **claims)
        assert (got["x-forwarded-for"], got["x-forwarded-proto"]) == ("198.51.100.2", "https")
        assert "forwarded" not in got


@pytest.mark.parametrize("name", KILLED)
async def test_a_turn_whose_tool_is_at_work_outlives(name: str, stack: Installation) -> None:
    """The toolbox stands still meanwhile, so that the turn can't be over before."""
    toolbox, killed = stack.one("toolbox"), stack.one(name)
    async with connected(stack) as connection:
        await asyncio.to_thread(toolbox.pause)
        try:
            turn = await ask(connection, SUM, "tool_call")
            await asyncio.to_thread(killed.kill)
        finally:
            await asyncio.to_thread(toolbox.unpause)
            await asyncio.to_thread(killed.start)
        assert not turn.first("tool_result")
        await until(connection, turn)
        check(turn, SUM_ANSWER)
    await asyncio.to_thread(stack.wait_healthy)


async def test_a_call_whose_server_dies_is_made_again_or_its_turn_says_so(stack: Installation, show: Show) -> None:
    """A call waits 10 s for its server, which may start more slowly on a busy machine."""
    toolbox = stack.one("toolbox")
    async with connected(stack) as connection:
        await asyncio.to_thread(toolbox.pause)
        try:
            turn = await ask(connection, SUM, "tool_call")
        finally:
            await asyncio.to_thread(toolbox.kill)
            await asyncio.to_thread(toolbox.start)
        assert not turn.first("tool_result")
        await until(connection, turn)
        result = turn.first("tool_result")
        assert result is not None
        show(f"the call whose server died: {result.data['outcome']}")
        if result.data["outcome"] == "ok":
            check(turn, SUM_ANSWER)
        else:
            assert result.data["result"].startswith("the server is down")
            check(turn, outcome="error")
        await asyncio.to_thread(stack.wait_healthy)
        check(await ask(connection, SUM), SUM_ANSWER)


async def test_a_question_is_heard_whole_though_who_hears_it_dies(stack: Installation) -> None:
    killed = stack.one("stt-worker")

    async def kill() -> None:
        await asyncio.sleep(bundled_question().duration_s / 2)
        await asyncio.to_thread(killed.kill)
        await asyncio.to_thread(killed.start)

    async with connected(stack) as connection, asyncio.TaskGroup() as tasks:
        tasks.create_task(kill())
        turn = await speak(connection, bundled_question())
    assert turn.transcript is not None
    assert turn.transcript.data["text"] == "what time is it in new york"
    check(turn)
    await asyncio.to_thread(stack.wait_healthy)


async def test_an_answer_is_spoken_whole_though_who_speaks_it_dies(stack: Installation) -> None:
    killed = stack.one("tts-worker")
    async with connected(stack) as connection:
        turn = await ask(connection, LONG, "tts")
        await asyncio.to_thread(killed.kill)
        at_work = not turn.over
        await asyncio.to_thread(killed.start)
        await until(connection, turn)
    assert at_work
    check(turn)
    await asyncio.to_thread(stack.wait_healthy)


def test_a_process_that_dies_by_itself_is_started_anew(stack: Installation) -> None:
    worker = stack.one("agent-worker")
    worker.exec_run(["sh", "-c", "kill -9 -1"])
    eventually(lambda: restarts(stack) > 0, 30, "started anew")
    stack.wait_healthy()


def restarts(stack: Installation) -> int:
    worker = stack.one("agent-worker")
    worker.reload()
    return int(worker.attrs["RestartCount"])


async def test_two_of_each_are_found_and_used(stack: Installation) -> None:
    await asyncio.to_thread(stack.up, gateway=2, stt_worker=2, agent_worker=2, tts_worker=2)
    await asyncio.to_thread(eventually, lambda: all_up(stack), 60, "all targets up")
    async with connected(stack) as a, connected(stack) as b, connected(stack) as c, connected(stack) as d:
        used = await asyncio.to_thread(connections_by_gateway, stack)
        assert len(used) == 2
        assert min(used.values()) >= 2  # the one with the fewest gets the next
        for turn in await asyncio.gather(*(ask(connection, SUM) for connection in (a, b, c, d))):
            check(turn, SUM_ANSWER)
    async with connected(stack) as quiet:  # where no answer is still audible, which speech would interrupt
        check(await spoken(quiet))


def all_up(stack: Installation) -> bool:
    """Whether Prometheus has found two of each that was scaled, and no target is down."""
    found = stack.targets()
    twice = all(found.get(name) == ["up", "up"] for name in ("gateway", *STAGES))
    return twice and all(state == "up" for states in found.values() for state in states)


def connections_by_gateway(stack: Installation) -> dict[str, int]:
    """How many the load balancer holds to each gateway that it has found."""
    ask_itself = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8404/metrics').read().decode())"
    told = stack.inside(stack.one("gateway-lb"), "python3", "-c", ask_itself)
    found = re.findall(r'haproxy_server_(status|current_sessions)\{proxy="gateways",server="(\w+)"(.*?)\} (\d+)', told)
    up = {
        server for kind, server, labels, value in found if kind == "status" and 'state="UP"' in labels and value == "1"
    }
    return {server: int(value) for kind, server, _, value in found if kind == "current_sessions" and server in up}


async def test_a_client_loses_nothing_while_every_container_is_restarted(stack: Installation, show: Show) -> None:
    async with connected(stack) as connection:
        rolling = asyncio.create_task(asyncio.to_thread(roll, stack))
        turns: list[Turn] = []
        while not rolling.done():
            turns.append(await ask(connection, SUM))
            await asyncio.wait([rolling], timeout=4)  # no faster than one may ask
        show(f"{len(turns)} turns during {await rolling} restarts")
    for turn in turns:
        check(turn, SUM_ANSWER)
    events = [event for turn in turns for event in turn.events]
    numbers = [event.seq for event in events if event.seq is not None]
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert [event.turn for event in events if event.type == "user"] == list(range(1, len(turns) + 1))
    assert not [event for event in events if event.type == "gap"]


def roll(stack: Installation) -> int:
    """Restarts one container after the other, each as soon as all are healthy; returns how many.

    But not the only toolbox: a turn that is asked meanwhile is told that there are no tools.
    """
    left_out = {"secrets", "grafana", "toolbox"}
    containers = [container for container in stack.containers() if service(container) not in left_out]
    for container in containers:
        container.restart(timeout=40)
        stack.wait_healthy()
    return len(containers)


def test_down_leaves_nothing(stack: Installation) -> None:
    stack.down()
    assert stack.left() == []
