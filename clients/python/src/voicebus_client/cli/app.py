"""The commands, their options and their help. What they do stands in modules of their own."""

import asyncio
import sys
from collections.abc import Sequence
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from voicebus_client.cli.chat import chat as run_chat
from voicebus_client.cli.dead_letters import drop, list_page, retry, show
from voicebus_client.cli.doctor import doctor as run_doctor
from voicebus_client.cli.running import FAILED, USAGE, Invocation, guarded, invocation, with_gateway
from voicebus_client.cli.sessions import sessions as run_sessions
from voicebus_client.cli.settings import read_settings
from voicebus_client.cli.tail import tail as run_tail
from voicebus_client.cli.terminal import Terminal
from voicebus_client.cli.token import parse_duration, read_secret, sign
from voicebus_client.position import Position
from voicebus_client.wav import read_wav

_START, _TALK, _LOOK, _OPERATE = "Start", "Talk", "Look", "Operate"
StageName = Literal["stt", "agent", "tts"]


class ScopeName(StrEnum):
    """What a token can allow."""

    READ = "sessions:read"
    WRITE = "sessions:write"
    ADMIN = "admin"


def _examples(*lines: str) -> str:
    return "[bold]Examples[/]\n\n" + "\n\n".join(f"  {line}" for line in lines)


app = typer.Typer(
    name="voicebus",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_examples(
        "voicebus doctor",
        "export VOICEBUS_TOKEN=$(voicebus token --sub alice)",
        "voicebus chat",
        "voicebus say question.wav --save answer.wav",
    )
    + "\n\nExit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 no gateway answers, 130 interrupted.",
)
letters = typer.Typer(no_args_is_help=True, help="What failed too often: list, show, retry or drop it (scope admin).")
app.add_typer(letters, name="dead-letters", rich_help_panel=_OPERATE)

SessionOption = Annotated[
    str | None, typer.Option("--session", metavar="ID", help="An existing session.", show_default="a new one")
]
PatienceOption = Annotated[float, typer.Option(metavar="S", min=0.0, help="Seconds to wait for an answer.")]
JsonOption = Annotated[bool, typer.Option("--json", help="A JSON object on each line.")]
CursorOption = Annotated[str | None, typer.Option(metavar="CURSOR", help="Goes on behind the page before.")]
LimitOption = Annotated[int, typer.Option(metavar="N", min=1, max=100, help="Most of a page.")]
LetterArgument = Annotated[str, typer.Argument(metavar="ID", show_default=False)]
LettersArgument = Annotated[list[str], typer.Argument(metavar="ID…", show_default=False)]


def run() -> NoReturn:
    """The command line as a program."""
    sys.exit(main())


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code.

    Raises:
        SystemExit: 2, the usage is wrong.
    """
    try:
        app(None if arguments is None else list(arguments), prog_name="voicebus")
    except SystemExit as left:
        if left.code == USAGE:
            raise
        return left.code if isinstance(left.code, int) else 0
    return 0


def _tell_version(wanted: bool) -> None:
    if wanted:
        Terminal().line(f"voicebus {version('voicebus-client')}")
        raise typer.Exit


@app.callback()
def common(
    ctx: typer.Context,
    url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The gateway, or VOICEBUS_URL.", show_default="http://127.0.0.1:8000"),
    ] = None,
    token: Annotated[
        str | None, typer.Option(metavar="JWT", help="The JSON Web Token, or VOICEBUS_TOKEN.", show_default=False)
    ] = None,
    _: Annotated[bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="The version.")] = False,
) -> None:
    """Talk to a Voicebus gateway, and look after it."""
    ctx.obj = Invocation(read_settings(url, token), Terminal())


@app.command(
    rich_help_panel=_START, epilog=_examples("voicebus doctor", "voicebus --url https://voice.example.org doctor")
)
def doctor(ctx: typer.Context) -> None:
    """Check gateway, versions, clocks, Redis, workers, token and WebSocket, and say what to do.

    Leaves with 1 if something is wrong.
    """
    common = invocation(ctx)
    healthy: list[bool] = []
    guarded(common.terminal, lambda: healthy.append(asyncio.run(run_doctor(common.settings, common.terminal))))
    if not all(healthy):
        raise typer.Exit(FAILED)


@app.command(
    rich_help_panel=_START,
    epilog=_examples(
        "JWT_SECRET=… voicebus token --sub alice --lasts 30d",
        "voicebus token --secret-file secrets/jwt --scope admin",
    ),
)
def token(
    ctx: typer.Context,
    sub: Annotated[str, typer.Option(metavar="USER", help="Whose token it is.")] = "developer",
    lasts: Annotated[str, typer.Option(metavar="TIME", help="How long it is valid: 90s, 15m, 12h, 30d.")] = "12h",
    scope: Annotated[
        list[ScopeName] | None,
        typer.Option(
            metavar="SCOPE",
            help="What it allows: sessions:read, sessions:write, admin; can be repeated.",
            show_default="the first two",
        ),
    ] = None,
    secret_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Holds the gateway's secret.", show_default="JWT_SECRET")
    ] = None,
) -> None:
    """Sign a token with the gateway's secret, for development."""
    common = invocation(ctx)
    try:
        duration = parse_duration(lasts)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--lasts") from error
    guarded(
        common.terminal,
        lambda: common.terminal.line(
            sign(common.settings, read_secret(common.settings, secret_file), sub, duration, list(scope or ()))
        ),
    )


@app.command(
    rich_help_panel=_TALK,
    epilog=_examples("voicebus chat", "echo 'what time is it in tokyo' | voicebus chat", "voicebus chat --session ID"),
)
def chat(ctx: typer.Context, session: SessionOption = None, patience: PatienceOption = 30.0) -> None:
    """Have a conversation in writing. Ctrl-C interrupts the answer, a second one leaves."""
    with_gateway(ctx, lambda bus, terminal: run_chat(bus, terminal, sys.stdin, session_id=session, patience_s=patience))


@app.command(
    rich_help_panel=_TALK, epilog=_examples("voicebus say question.wav", "voicebus say question.wav --save answer.wav")
)
def say(
    ctx: typer.Context,
    wav: Annotated[Path, typer.Argument(metavar="FILE", help="A WAV file: PCM of 16 bits, any rate.")],
    session: SessionOption = None,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Save the answer's speech as a WAV file.", show_default=False)
    ] = None,
    patience: PatienceOption = 30.0,
) -> None:
    """Speak a recording, as fast as it was spoken, and hear the answer.

    The answer is played to a person at a terminal, by aplay, paplay, ffplay or afplay, if it is not saved.
    """
    from voicebus_client.cli.say import say as run_say  # noqa: PLC0415 - its bar takes long to load

    with_gateway(
        ctx,
        lambda bus, terminal: run_say(bus, terminal, read_wav(wav), session_id=session, save=save, patience_s=patience),
    )


@app.command(rich_help_panel=_LOOK, epilog=_examples("voicebus sessions", "voicebus sessions --json | jq .session_id"))
def sessions(
    ctx: typer.Context, limit: LimitOption = 20, cursor: CursorOption = None, as_json: JsonOption = False
) -> None:
    """List your sessions, newest first."""
    with_gateway(ctx, lambda bus, terminal: run_sessions(bus, terminal, cursor=cursor, limit=limit, as_json=as_json))


@app.command(
    rich_help_panel=_LOOK,
    epilog=_examples("voicebus tail ID --after 0", "voicebus tail ID --json | jq 'select(.type == \"error\")'"),
)
def tail(
    ctx: typer.Context,
    session: Annotated[str, typer.Argument(metavar="SESSION", show_default=False)],
    after: Annotated[
        Position | None,
        typer.Option(
            parser=Position.parse,
            metavar="POSITION",
            help="From here on: a seq (0: all that is kept) or epoch:seq:speech.",
            show_default="from now on",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Follow a session's events, as they happen."""
    with_gateway(ctx, lambda bus, terminal: run_tail(bus, terminal, session, after, as_json=as_json))


@letters.command("list", epilog=_examples("voicebus dead-letters list --stage agent"))
def list_letters(
    ctx: typer.Context,
    stage: Annotated[StageName | None, typer.Option(help="Of this stage only.", show_default="all")] = None,
    limit: LimitOption = 20,
    cursor: CursorOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what failed too often, newest first."""
    with_gateway(
        ctx,
        lambda bus, terminal: list_page(bus, terminal, stage=stage, cursor=cursor, limit=limit, as_json=as_json),
    )


@letters.command("show")
def show_letter(ctx: typer.Context, letter: LetterArgument) -> None:
    """Show one, with what was to be done."""
    with_gateway(ctx, lambda bus, terminal: show(bus, terminal, letter))


@letters.command("retry")
def retry_letters(ctx: typer.Context, letter: LettersArgument) -> None:
    """Do it after all. A question is asked again in a new turn; speech can't be: its audio is gone."""
    with_gateway(ctx, lambda bus, terminal: retry(bus, terminal, letter))


@letters.command("drop")
def drop_letters(ctx: typer.Context, letter: LettersArgument) -> None:
    """Delete it for good."""
    with_gateway(ctx, lambda bus, terminal: drop(bus, terminal, letter))
