"""What the commands refuse before anything is started."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from voicebus_stack import demo, run

SECRET = "no-token\N{SNOWMAN}"


def refused(main: Callable[[], None], arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["voicebus", *arguments])
    with pytest.raises(SystemExit) as leaving:
        main()
    assert leaving.value.code in {1, 2}


@pytest.mark.parametrize(
    ("main", "arguments", "reason"),
    [
        (run.main, ("--port", "99999"), "not a port: '99999'"),
        (run.main, ("--port", "-1"), "not a port: '-1'"),
        (run.main, ("--data", "/proc/x"), "run: /proc/x can't hold a stack's data: "),
        (run.main, ("--data", __file__), f"run: {__file__} can't hold a stack's data: "),
        (run.main, ("--mcp", "/nowhere"), "no such file: '/nowhere'"),
        (demo.main, ("--mcp", "/tmp"), "no such file: '/tmp'"),
        (demo.main, ("--text", ""), "argument --text: "),
        (demo.main, ("--url", ""), "argument --url: "),
        (demo.main, ("--token", SECRET), "argument --token: "),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(
    main: Callable[[], None],
    arguments: tuple[str, ...],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    refused(main, arguments, monkeypatch)
    *_, said = capsys.readouterr().err.splitlines()
    assert reason in said
    assert SECRET not in said


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a WAV file with PCM samples: it is cut short"),
        (b"RIFF", "not a WAV file with PCM samples: it is cut short"),
        (b"not a recording", "not a WAV file with PCM samples: file does not start with RIFF id"),
    ],
)
def test_a_recording_that_is_none_is_named(
    content: bytes, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "question.wav"
    file.write_bytes(content)
    refused(demo.main, ("--wav", str(file)), monkeypatch)
    assert capsys.readouterr().err == f"demo: {file}: {reason}\n"
