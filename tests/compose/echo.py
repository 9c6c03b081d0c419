"""The load balancer before a server that tells what it was sent, in place of the gateway."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from compose.installation import PROJECT, Installation, eventually, status_of
from docker.types import EndpointConfig

from voicebus_stack.ports import free_port

_ECHO = """
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Echo(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

ThreadingHTTPServer(("", 8000), Echo).serve_forever()
"""


@contextmanager
def echoing(stack: Installation, *, trusted: str) -> Iterator[str]:
    """Yields the address of a load balancer with these `TRUSTED_PROXIES`; gone afterwards."""
    port = free_port()
    label = {PROJECT: stack.project}
    version = stack.docker.api.api_version
    with ExitStack() as cleaning:
        network = stack.docker.networks.create(f"{stack.project}-echo", labels=label)
        cleaning.callback(network.remove)
        echo = stack.docker.containers.run(
            "python:3.11-slim-bookworm", ["python3", "-c", _ECHO], detach=True, network=network.name,
            networking_config={network.name: EndpointConfig(version, aliases=["gateway"])},
        )  # fmt: skip
        cleaning.callback(echo.remove, force=True)
        balancer = stack.docker.containers.run(
            stack.one("gateway-lb").image.id, detach=True, network=network.name, ports={8000: ("127.0.0.1", port)},
            environment={"PUBLIC_PORT": str(port), "TRUSTED_PROXIES": trusted},
        )  # fmt: skip
        cleaning.callback(balancer.remove, force=True)
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: status_of(url) == 200, 30, "the echo answers")
        yield url


def echoed(url: str, **headers: str) -> dict[str, str]:
    """The headers that arrive, by their names in small letters; `_` stands for `-` in what is sent."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    with urllib.request.urlopen(urllib.request.Request(url, headers=sent), timeout=5) as answer:
        return dict(json.load(answer))
