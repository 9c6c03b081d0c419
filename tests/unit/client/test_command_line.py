"""The parts of the command line that need no gateway."""

import io
from pathlib import Path

import pytest

from voicebus_client.cli import FAILED, UNREACHABLE, main
from voicebus_client.cli.player import Player, find_player
from voicebus_client.cli.settings import read_settings
from voicebus_client.cli.terminal import Terminal, log_line
from voicebus_client.cli.token import parse_duration
from voicebus_client.cli.token_check import claims_of
from voicebus_client.events import Event
from voicebus_client.turns import Turns


def event(kind: str, seq: int | None = None, turn: int | None = 1, **data: object) -> Event:
    return Event(kind, data, seq=seq, turn=turn, timestamp="2026-01-01T10:20:30.456Z")


def test_the_command_line_goes_before_the_environment() -> None:
    environment = {"VOICEBUS_URL": "http://there", "VOICEBUS_TOKEN": "secret"}
    assert read_settings(None, None, environment).url == "http://there"
    assert read_settings(None, None, environment).token == "secret"
    assert read_settings("http://here", "mine", environment).url == "http://here"
    assert read_settings("http://here", "mine", environment).token == "mine"
    assert read_settings(None, None, {}).token is None


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (event("token", 42, token="Hello"), "    42  10:20:30.456  turn 1    token           'Hello'"),
        (event("stt", text="what", is_final=False), "     ·  10:20:30.456  turn 1    stt             'what' …"),
        (
            event("tool_call", 3, tool_name="add", parameters={"a": 1, "b": 2}),
            "     3  10:20:30.456  turn 1    tool_call       add(a=1, b=2)",
        ),
        (
            Event("gap", {"stream": "events", "from": 4, "to": 9, "reason": "trimmed"}),
            "     ·  ·                       gap             events 4 to 9 can't be had: trimmed",
        ),
    ],
)
def test_an_event_is_one_readable_line(said: Event, line: str) -> None:
    assert log_line(said) == line


def test_speech_is_shown_by_its_length() -> None:
    said = Event("tts", {"n": 5, "segment": 0, "after_seq": 42, "sample_rate": 8_000}, audio=b"\0" * 1_600)
    assert log_line(said).split() == ["s5", "·", "tts", "100", "ms", "of", "segment", "0,", "after", "42"]


def test_a_line_ends_text_that_was_growing() -> None:
    out, err = io.StringIO(), io.StringIO()
    terminal = Terminal(out, err)
    terminal.grow("Hel")
    terminal.grow("lo")
    terminal.line("next")
    terminal.note("aside")
    assert out.getvalue() == "Hello\nnext\n"
    assert err.getvalue() == "aside\n"


def test_a_spoken_turn_is_done_with_the_last_chunk_of_its_last_segment() -> None:
    turns = Turns()
    for said, done in [
        (event("user", 1, id="m", content="?"), False),
        (event("tts", segment=0, is_last=True), False),
        (event("response", 2, segments=2, content="!"), False),
        (event("tts", segment=1, is_last=False), False),
        (event("tts", segment=1, is_last=True), True),
    ]:
        turns.see(said)
        assert turns.done is done


def test_a_turn_that_is_not_spoken_is_done_with_its_response() -> None:
    turns = Turns()
    turns.see(event("user", 1, id="m"))
    turns.see(event("response", 2, segments=0))
    assert turns.any
    assert turns.done


@pytest.mark.parametrize("kind", ["interrupted", "error"])
def test_a_turn_that_is_cut_short_is_done(kind: str) -> None:
    turns = Turns()
    turns.see(event("user", 1, id="m"))
    turns.see(event(kind, 2))
    assert turns.done


def test_a_sentence_that_cannot_be_spoken_does_not_end_its_turn() -> None:
    turns = Turns()
    turns.see(event("user", 1, id="m"))
    turns.see(event("error", 2, code="tts_failed"))
    assert not turns.done
    turns.see(event("response", 3, segments=1))
    turns.see(event("tts", segment=0, is_last=True))
    assert turns.done


def test_a_sent_text_is_awaited_until_its_turn_opens_or_it_is_refused() -> None:
    turns = Turns()
    turns.expect("a")
    turns.expect("b")
    turns.forget("b")
    assert not turns.done
    turns.see(event("user", 1, id="a"))
    turns.see(event("response", 2, segments=0))
    assert turns.done


def test_wrong_usage_leaves_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["tail", "s", "--after", "nonsense"])
    assert left.value.code == 2
    assert "--after" in capsys.readouterr().err


def test_no_gateway_leaves_with_3(capsys: pytest.CaptureFixture[str], unused_tcp_port: int) -> None:
    assert main(["--url", f"http://127.0.0.1:{unused_tcp_port}", "chat"]) == UNREACHABLE
    assert "unreachable" in capsys.readouterr().err


def test_a_file_that_is_not_there_leaves_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["say", "not-there.wav"]) == FAILED
    assert "not-there.wav" in capsys.readouterr().err


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    return Screen()


def test_a_person_gets_colours(screen: Screen) -> None:
    Terminal(screen).line("fine", "green")
    assert screen.getvalue() == "\x1b[32mfine\x1b[0m\n"


def test_who_wants_no_colours_gets_none(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    Terminal(screen).line("fine", "green")
    assert screen.getvalue() == "fine\n"


def test_a_file_gets_neither_colours_nor_folds() -> None:
    out = io.StringIO()
    terminal = Terminal(out, out)
    terminal.line("word " * 60, "red")
    terminal.parts(("a", "bold"), ("b", "green"))
    terminal.table(["NAME", "TEXT"], [["x" * 90, "[bold]y[/] :smile:"]])
    lines = out.getvalue().splitlines()
    assert lines[0] == "word " * 60
    assert [line.split() for line in lines[1:]] == [["ab"], ["NAME", "TEXT"], ["x" * 90, "[bold]y[/]", ":smile:"]]


def test_text_grows_as_it_came() -> None:
    out = io.StringIO()
    terminal = Terminal(out)
    for piece in ("One,", " two ", "\n", "three\t", " ", "\x1b[2J\ud800"):
        terminal.grow(piece)
    assert out.getvalue() == "One, two \nthree\t \\x1b[2J\\ud800"


def test_the_first_player_on_the_path_is_taken() -> None:
    assert find_player(lambda _: None) is None
    player = find_player({"afplay": "/bin/afplay", "aplay": "/bin/aplay"}.get)
    assert player == Player(("/bin/aplay", "-q"))


@pytest.mark.parametrize(("program", "plays"), [("true", True), ("false", False)])
async def test_a_player_that_fails_says_so(program: str, plays: bool, tmp_path: Path) -> None:
    assert await Player((program,)).play(tmp_path / "answer.wav", 0.1) is plays


async def test_a_player_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voicebus_client.cli.player._MORE_S", 0.0)
    hangs = tmp_path / "3600"
    assert await Player(("sleep",)).play(Path(hangs.name), 0.05) is False


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("15m", 900), ("12h", 43_200), ("30d", 2_592_000)])
def test_durations_have_a_unit(text: str, seconds: int) -> None:
    assert parse_duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "12", "h", "-1h", "0d", "1.5h", "9999d", "999999999d", "1w", "\u0661h"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["", "a", "a.b.c", "a.!.c", "a.W10.c", "a.\u00e9.c"])
def test_a_token_that_cannot_be_read_claims_nothing(text: str) -> None:
    assert claims_of(text) == {}


def test_the_commands_stand_in_the_order_of_their_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    order = ["doctor", "token", "chat", "say", "sessions", "tail", "dead-letters"]
    places = [said.index(f"│ {name} ") for name in order]
    assert places == sorted(places)
    assert "voicebus say question.wav" in said
