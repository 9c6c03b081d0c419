"""Secrets come from the environment, or from files that it names."""

from pathlib import Path

import pytest
from pydantic_settings import SettingsError

from gateway.settings import GatewaySettings
from voicebus.chassis.settings import ServiceSettings


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "secret"
    monkeypatch.setenv("JWT_SECRET_FILE", str(file))
    monkeypatch.delenv("JWT_SECRET", raising=False)
    return file


def test_a_secret_is_read_from_the_file_that_is_named(file: Path) -> None:
    file.write_text("from-a-file\n")
    assert GatewaySettings().secrets() == ("from-a-file", "")


def test_the_environment_goes_before_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("from-a-file")
    monkeypatch.setenv("JWT_SECRET", "from-the-environment")
    assert GatewaySettings().secrets() == ("from-the-environment", "")


def test_an_empty_file_is_no_secret(file: Path) -> None:
    file.write_text("\n")
    assert GatewaySettings().secrets() == ("", "")


def test_a_file_that_is_missing_is_named(file: Path) -> None:
    with pytest.raises(SettingsError, match=r"JWT_SECRET_FILE: .*No such file"):
        GatewaySettings()


def test_what_is_no_secret_is_not_read_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "prefix").write_text("mine")
    monkeypatch.setenv("REDIS_PREFIX_FILE", str(tmp_path / "prefix"))
    assert ServiceSettings().redis_prefix == "vb"


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("redis://redis:6379/0", "redis://:p%2Fw%40@redis:6379/0"),
        ("redis://a:6379,b:6379", "redis://:p%2Fw%40@a:6379,b:6379"),
        ("redis+sentinel://a,b:1/voice/0", "redis+sentinel://:p%2Fw%40@a,b:1/voice/0"),
        ("rediss://redis/0?ssl_cert_reqs=none", "rediss://:p%2Fw%40@redis/0?ssl_cert_reqs=none"),
        ("unix:///run/redis.sock?db=1", "unix://:p%2Fw%40@/run/redis.sock?db=1"),
        ("redis://me:own@redis:6379/0", "redis://me:own@redis:6379/0"),
    ],
)
def test_the_password_of_redis_goes_into_an_address_that_has_none(
    url: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    monkeypatch.setenv("REDIS_PASSWORD", "p/w@")
    assert ServiceSettings().bus().redis_url == wanted
