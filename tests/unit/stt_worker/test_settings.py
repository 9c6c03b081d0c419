"""What the worker reads from its environment."""

import pytest

from stt_worker.settings import SttSettings


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "STT_ENGINE": "instant",
        "STT_DECODERS": "5",
        "STT_ENDPOINT_SILENCE_S": "0.8",
        "STT_IDLE_S": "7",
    }.items():
        monkeypatch.setenv(name, value)
    settings = SttSettings()
    assert (settings.stt_engine, settings.stt_decoders, settings.stt_idle_s) == ("instant", 5, 7)
    assert settings.endpointing().endpoint_silence_s == 0.8
    assert settings.capacity() == 40


def test_the_number_of_sessions_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STT_SESSIONS", "3")
    assert SttSettings().capacity() == 3


def test_the_machine_decides_how_much_is_decoded_at_once() -> None:
    assert SttSettings().stt_decoders >= 1
