"""What docker-compose.yml promises, as far as no engine is needed to see it."""

import importlib.util
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from voicebus.chassis.settings import ServiceSettings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
STAYING = {name: each for name, each in SERVICES.items() if name != "secrets"}
DRAINING = ("gateway", "stt-worker", "agent-worker", "tts-worker")
SECRETS = ("JWT_SECRET", "JWT_SECRET_PREVIOUS", "REDIS_PASSWORD", "GRAFANA_PASSWORD")


def dockerfile(service: dict[str, Any]) -> str:
    return (ROOT / service["build"]["dockerfile"]).read_text() if "build" in service else ""


def last_stage(text: str) -> str:
    return re.split(r"^FROM ", text, flags=re.MULTILINE)[-1]


def test_the_services_are_those_that_are_documented() -> None:
    workers = {"stt-worker", "agent-worker", "tts-worker", "toolbox"}
    assert set(STAYING) == {"gateway-lb", "gateway", "redis", "prometheus", "grafana", *workers}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_restricted(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert not service.get("privileged")
    assert service["security_opt"] == ["no-new-privileges:true"]
    users = re.findall(r"^USER (\S+)", last_stage(dockerfile(service)), re.MULTILINE)
    user = str(service.get("user") or (users[-1] if users else "root"))
    assert user.split(":", maxsplit=1)[0] not in {"root", "0"}


@pytest.mark.parametrize("name", STAYING)
def test_a_service_tells_how_it_is_and_comes_back(name: str) -> None:
    service = STAYING[name]
    assert "healthcheck" in service or re.search(r"^HEALTHCHECK .*CMD", dockerfile(service), re.MULTILINE)
    assert service["restart"] == "unless-stopped"
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}


def test_only_the_front_ports_are_published() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {
        "gateway-lb": ["${API_ADDRESS:-0.0.0.0}:${API_PORT:-8000}:8000"],
        "prometheus": ["127.0.0.1:${PROMETHEUS_PORT:-9090}:9090"],
        "grafana": ["127.0.0.1:${GRAFANA_PORT:-3000}:3000"],
    }
    assert not [name for name, service in SERVICES.items() if service.get("network_mode") == "host"]


@pytest.mark.parametrize("name", DRAINING)
def test_who_drains_is_given_the_time(name: str) -> None:
    drain_s = float(SERVICES[name]["environment"]["DRAIN_S"])
    assert drain_s == ServiceSettings().drain_s
    assert float(SERVICES[name]["stop_grace_period"].removesuffix("s")) >= drain_s + 10


def test_nothing_need_be_set_and_no_secret_has_a_default() -> None:
    for name, default in re.findall(r"\$\{(\w+)([^}]*)\}", TEXT):
        assert default.startswith(":-"), name  # `:?` would stop a bare `docker compose up`
        if re.search("SECRET|PASSWORD|KEY", name):
            assert default == ":-", name


def test_secrets_reach_services_as_files_and_only_those_that_need_them() -> None:
    for name, service in STAYING.items():
        told = {str(value) for value in service.get("environment", {}).values()}
        assert not [value for value in told for secret in SECRETS if f"${{{secret}:" in value], name
    holders = {
        secret: {
            name for name, service in STAYING.items() for volume in service.get("volumes", []) if secret in str(volume)
        }
        for secret in ("secrets-jwt", "secrets-redis", "secrets-grafana")
    }
    assert holders["secrets-jwt"] == {"gateway"}
    assert holders["secrets-redis"] == {*DRAINING, "redis"}
    assert holders["secrets-grafana"] == {"grafana"}
    mounts = [volume for service in STAYING.values() for volume in service.get("volumes", []) if "secrets-" in volume]
    assert all(volume.endswith(":ro") for volume in mounts)


def test_it_is_a_file_for_both_kinds_of_compose() -> None:
    assert not re.search(r"^(name|version):", TEXT, re.MULTILINE)
    for service in SERVICES.values():
        needs = service.get("depends_on", {})
        assert all(set(need) == {"condition"} for need in needs.values())
        assert "--mount" not in dockerfile(service)


def test_images_are_built_from_pinned_wheels_whose_hashes_are_checked() -> None:
    for service in SERVICES.values():
        installs = re.findall(r"pip \S+ \S+ install [^\n]*\n[^\n]*", dockerfile(service))
        assert all("--require-hashes" in each and "--only-binary=:all:" in each for each in installs)
        assert all(":" in line for line in re.findall(r"^FROM (\S+)", dockerfile(service), re.MULTILINE))
    assert "--require-hashes" in dockerfile(SERVICES["gateway"])
    assert SERVICES["tts-worker"]["build"]["args"]["DEBIAN_PACKAGES"] == "flite"


def ignored() -> Iterator[str]:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    return (line for line in lines if line and not line.startswith("#"))


def test_what_goes_into_images_is_a_list_of_what_may() -> None:
    first, *rest = ignored()
    assert first == "*"
    allowed = [line.removeprefix("!") for line in rest if line.startswith("!")]
    assert allowed
    for path in allowed:
        assert "*" not in path
        assert (ROOT / path).exists(), path
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", "\n".join(map(dockerfile, SERVICES.values())), re.MULTILINE)
    for source in " ".join(copied).replace("$SERVICE", "gateway").split():
        assert any(source == path or source.startswith(f"{path}/") for path in allowed), source


def test_shell_scripts_are_well_formed() -> None:
    subprocess.run(["sh", "-n", str(ROOT / "deploy" / "gateway-lb" / "start.sh")], check=True)


@pytest.fixture
def make_secrets(tmp_path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_secrets", ROOT / "deploy" / "secrets" / "make_secrets.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("jwt", "redis", "grafana"):
        (tmp_path / name).mkdir()
    return module


def test_secrets_are_random_and_kept(make_secrets: ModuleType, tmp_path: Path) -> None:
    told = make_secrets.make_secrets(tmp_path, {})
    assert told == ["jwt/secret: made", "redis/password: made", "grafana/password: made"]
    made = {name: (tmp_path / name).read_text() for name in make_secrets.MADE}
    assert len(set(made.values())) == 3
    assert all(re.fullmatch("[0-9a-f]{64}", secret) for secret in made.values())
    assert make_secrets.make_secrets(tmp_path, {}) == [line.replace("made", "kept") for line in told]
    assert {name: (tmp_path / name).read_text() for name in make_secrets.MADE} == made
    assert (tmp_path / "redis" / "redis.conf").read_text() == f"requirepass {made['redis/password']}\n"
    assert (tmp_path / "jwt" / "previous").read_text() == ""


def test_secrets_of_the_environment_go_before_what_is_there(make_secrets: ModuleType, tmp_path: Path) -> None:
    make_secrets.make_secrets(tmp_path, {})
    given = {"JWT_SECRET": "mine", "JWT_SECRET_PREVIOUS": "before", "REDIS_PASSWORD": "p/w#"}
    told = make_secrets.make_secrets(tmp_path, given)
    assert told == [
        "jwt/secret: as the environment says",
        "redis/password: as the environment says",
        "grafana/password: kept",
    ]
    assert (tmp_path / "jwt" / "secret").read_text() == "mine"
    assert (tmp_path / "jwt" / "previous").read_text() == "before"
    assert (tmp_path / "redis" / "redis.conf").read_text() == "requirepass p/w#\n"
    assert {file.stat().st_mode & 0o777 for file in tmp_path.glob("*/*")} == {0o444}


@pytest.mark.parametrize("secret", ["two words", 'a"quote', "a'quote", "back\\slash", "two\nlines", "ümlaut"])
def test_secrets_that_would_need_quoting_are_refused(secret: str, make_secrets: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(make_secrets.Unusable, match="REDIS_PASSWORD"):
        make_secrets.make_secrets(tmp_path, {"JWT_SECRET": "mine", "REDIS_PASSWORD": secret})
    assert not list(tmp_path.glob("*/*"))
