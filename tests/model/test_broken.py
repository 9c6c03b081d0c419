"""The machine can fail: with one promise of the scripts broken it finds a violation."""

import os
from pathlib import Path

import pytest
from model.expected import Violation
from model.machine import BusMachine
from model.run import run
from model.test_model import one_redis
from support.report import Show

from voicebus.bus import scripts
from voicebus.bus.scripts import ScriptName

# What is broken: a text of the scripts, and what stands there instead.
BROKEN: dict[str, tuple[tuple[str, str], ...]] = {
    "fence": (("return get(stage .. '.token') == token and", "return token and"),),
    "number": (("if this <= last then", "if false then"), ("if this ~= last + 1 then", "if false then")),
    "number-ahead": (("if this ~= last + 1 then", "if this <= last then"),),
    "dedupe": (("if not score then return nil end", "if true then return nil end"),),
    "release": (("if first_after(KEYS[3], get(stage .. '.cursor') or '0-0') then return { 'more' } end", ""),),
    "compare-and-set": (("if not score or (held and tonumber(score) > time) then", "if not score then"),),
    "cancelled": (("if turn ~= '0' and listed('cancelled', turn) or", "if"),),
    "withdraw-sentences": (("withdraw(KEYS[6], turn, cut)", ""),),
    "withdraw-speech": (("withdraw(speech, turn, cut)", ""),),
    "abandoned": (("note('abandoned', cut, 64)", ""),),
    "attempts": (("if get(stage .. '.tried_by') ~= token then", "if true then"),),
}


@pytest.mark.skipif("MODEL_MINUTES" not in os.environ, reason="takes a minute: make model runs it")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_promise_is_found(tmp_path: Path, name: str, show: Show) -> None:
    for right, _ in BROKEN[name]:
        assert any(right in scripts.source(script) for script in scripts.SCRIPTS), right

    def broken(script: ScriptName) -> str:
        text = scripts.source(script)
        for right, wrong in BROKEN[name]:
            text = text.replace(right, wrong)
        return text

    with one_redis(tmp_path) as servers:
        servers.use(broken)
        with pytest.raises(Violation) as found:
            run(servers, (BusMachine,), first_seed=1, seconds=60, shrink=False)
        line = f"model: broken {name}: found after {servers.steps:,} steps: {str(found.value)[:100]}"
        show(line)
