"""`dead-letters`: what failed too often, and what is to become of it."""

from collections.abc import Sequence

import orjson

from voicebus_client.cli.sessions import when
from voicebus_client.cli.terminal import Terminal
from voicebus_client.client import Voicebus
from voicebus_client.errors import VoicebusError
from voicebus_client.models import DeadLetter, Stage

_NAMES = ("DEAD LETTER", "DIED", "SESSION", "TURN", "ERROR")


async def list_page(
    bus: Voicebus, terminal: Terminal, *, stage: Stage | None, cursor: str | None, limit: int, as_json: bool
) -> None:
    """Prints a page, and beside it how to get the next one.

    Raises:
        VoicebusError: the server refused.
    """
    found, following = await bus.dead_letters(cursor, stage=stage, limit=limit)
    if as_json:
        for letter in found:
            terminal.line(orjson.dumps(letter).decode())
    elif found:
        terminal.table(_NAMES, [_row(letter) for letter in found])
    else:
        terminal.note("no dead letters", "dim")
    if following:
        same = f" --stage {stage}" if stage else ""
        terminal.note(f"more: voicebus dead-letters list{same} --cursor {following}", "dim")


async def show(bus: Voicebus, terminal: Terminal, letter_id: str) -> None:
    """Prints all that is known of one, as JSON.

    Raises:
        VoicebusError: the server refused.
    """
    terminal.line(orjson.dumps(await bus.dead_letter(letter_id), option=orjson.OPT_INDENT_2).decode())


async def retry(bus: Voicebus, terminal: Terminal, letter_ids: Sequence[str]) -> None:
    """Makes them mail again; goes on behind one that can't be.

    Raises:
        VoicebusError: the first one with which the server refused.
    """
    failures = []
    for letter_id in letter_ids:
        try:
            retried = await bus.retry_dead_letter(letter_id)
        except VoicebusError as error:
            failures.append(_failed(terminal, letter_id, error))
        else:
            turn = f", in turn {retried.turn}" if retried.turn else ""
            terminal.line(f"{letter_id}: is worked at again{turn}", "green")
    if failures:
        raise failures[0]


async def drop(bus: Voicebus, terminal: Terminal, letter_ids: Sequence[str]) -> None:
    """Deletes them; goes on behind one that can't be.

    Raises:
        VoicebusError: the first one with which the server refused.
    """
    failures = []
    for letter_id in letter_ids:
        try:
            await bus.drop_dead_letter(letter_id)
        except VoicebusError as error:
            failures.append(_failed(terminal, letter_id, error))
        else:
            terminal.line(f"{letter_id}: dropped")
    if failures:
        raise failures[0]


def _failed(terminal: Terminal, letter_id: str, error: VoicebusError) -> VoicebusError:
    """With several, the message at the end would not tell which it was."""
    terminal.line(f"{letter_id}: {error.code}", "red")
    return error


def _row(letter: DeadLetter) -> Sequence[str]:
    turn = str(letter.turn) if letter.turn is not None else ""
    return (letter.id, when(letter.died_at), letter.session_id, turn, f"{letter.code}: {letter.message}")
