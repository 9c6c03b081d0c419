"""`make demo`: one spoken turn through a whole stack, or several with their medians."""

import argparse
import asyncio
import statistics
import sys
import time
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from voicebus_client.client import Voicebus
from voicebus_client.connection import Connection
from voicebus_client.errors import VoicebusError
from voicebus_stack.arguments import existing_file, token, words
from voicebus_stack.background import Running, StackFailed, running_stack
from voicebus_stack.question import FRAME_MS, Question, bundled_question, load_question
from voicebus_stack.timeline import timeline
from voicebus_stack.turn import Turn, TurnFailed, say, speak

LOG = Path("out/demo.log")
ANSWER = Path("out/answer.wav")
_UNDERSTOOD_S = 3.0  # after the recording and some silence
_PAUSE_MS = 500  # that ends a question


def main() -> None:
    """The command."""
    arguments = _arguments()
    try:
        question = load_question(arguments.wav) if arguments.wav else bundled_question()
        code = asyncio.run(_demo(arguments, question))
    except (StackFailed, TurnFailed, VoicebusError, OSError, ValueError) as error:
        print(f"demo: {error}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo ARGS=…", description=__doc__)
    asked = parser.add_mutually_exclusive_group()
    asked.add_argument("--wav", type=Path, metavar="FILE", help="a recording to ask (16-bit PCM)")
    asked.add_argument("--text", type=words, help="a question in writing")
    parser.add_argument("--mcp", type=existing_file, metavar="FILE", help="your MCP servers, as mcpServers JSON")
    parser.add_argument("--url", type=words, help="a stack that runs already, instead of one of its own")
    parser.add_argument(
        "--token", type=token, default="", help="for --url; without one the stack must be in development mode"
    )
    parser.add_argument(
        "--turns", type=int, default=1, metavar="N", help="so many turns, and medians of their latencies"
    )
    parser.add_argument("--engines", choices=("default", "instant"), default="default")
    arguments = parser.parse_args()
    if arguments.url and (arguments.mcp or arguments.engines != "default"):
        parser.error("--mcp and --engines are for a stack of the demo's own, not for --url")
    if arguments.turns < 1:
        parser.error("--turns: at least 1")
    return arguments


async def _demo(arguments: argparse.Namespace, question: Question) -> int:
    turns: list[Turn] = []
    async with (
        _stack(arguments) as stack,
        Voicebus(stack.url, stack.token) as voicebus,
        _session(voicebus) as session_id,
        voicebus.connect(session_id) as connection,
    ):
        print(f"session {session_id} at {stack.url}", flush=True)
        for number in range(1, arguments.turns + 1):
            if turns:  # whoever asks while an answer is heard interrupts it
                await asyncio.sleep(max(0.0, turns[-1].heard_s - time.monotonic()))
            turn = await _turn(connection, arguments, question)
            turns.append(turn)
            if arguments.turns == 1:
                print(*timeline(turn), sep="\n")
            else:
                print(f"{number:4}  {_latencies(turn)}", flush=True)
    missing = sorted({part for turn in turns for part in _missing(turn, arguments)})
    _conclude(turns, arguments, question)
    if missing:
        print(f"missing: {', '.join(missing)}" + ("" if arguments.url else f"; see {LOG}"), file=sys.stderr)
    return 1 if missing else 0


@asynccontextmanager
async def _session(voicebus: Voicebus) -> AsyncIterator[str]:
    session = await voicebus.create_session()
    try:
        yield session.session_id
    finally:
        with suppress(VoicebusError):  # what went wrong before is what matters
            await voicebus.end_session(session.session_id)


@asynccontextmanager
async def _stack(arguments: argparse.Namespace) -> AsyncIterator[Running]:
    if arguments.url:
        yield Running(arguments.url.rstrip("/"), arguments.token)
        return
    print("starting Redis, gateway, STT, agent and TTS on free ports …", flush=True)
    async with running_stack(LOG, engines=arguments.engines, mcp_config=arguments.mcp) as stack:
        yield stack


async def _turn(connection: Connection, arguments: argparse.Namespace, question: Question) -> Turn:
    if arguments.text:
        return await say(connection, arguments.text)
    return await speak(connection, question, stop_at_once=arguments.engines == "instant", understood_s=_UNDERSTOOD_S)


def _missing(turn: Turn, arguments: argparse.Namespace) -> list[str]:
    """What the turn should have had and hadn't."""
    parts = {
        "transcript": arguments.text or turn.transcript,
        "tool call": arguments.engines == "instant" or turn.first("tool_call"),
        "tool result": arguments.engines == "instant" or turn.first("tool_result"),
        "tokens": turn.first("token"),
        "response": turn.first("response"),
        "speech": turn.speech[0],
    }
    return [name for name, present in parts.items() if not present]


def _conclude(turns: list[Turn], arguments: argparse.Namespace, question: Question) -> None:
    turn = turns[-1]
    if len(turns) > 1:
        print(f"medians of {len(turns)} turns: {_latencies(*turns)}")
    else:
        if not arguments.text and turn.last_frame_s is not None:
            early = [event for event in turn.partials if event.received_s < turn.last_frame_s]
            print(f"{len(early)} partial transcripts before the last frame was sent")
        print(_latencies(turn))
    if turn.heard_ms is not None and question.voiced[-1] * FRAME_MS > turn.heard_ms + _PAUSE_MS:
        print(f"only the first {turn.heard_ms / 1000:.1f} s of the recording were answered: a pause ends a question")
    audio, rate = turn.speech
    if audio:
        ANSWER.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(ANSWER), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(audio)
        print(f"the answer, {len(audio) / 2 / rate:.1f} s of speech, is saved as {ANSWER}")


def _latencies(*turns: Turn) -> str:
    """Medians on the client's clock, from the last voiced sample sent (or the text)."""
    steps = {
        "final transcript": [turn.latency_ms(turn.transcript) for turn in turns],
        "first token": [turn.latency_ms(turn.first("token")) for turn in turns],
        "first speech": [turn.latency_ms(turn.first("tts")) for turn in turns],
    }
    start = "last voiced sample sent" if turns[0].last_voiced_s is not None else "text sent"
    parts = [start]
    for name, values in steps.items():
        known = [value for value in values if value is not None]
        if known:
            parts.append(f"{name} {statistics.median(known):.1f} ms")
    return " → ".join(parts)


if __name__ == "__main__":
    main()
