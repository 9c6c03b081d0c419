"""The machine can fail: with one promise of the scripts broken it finds a violation.

It takes minutes: `make model` runs it, by its name."""

from pathlib import Path

import pytest
from model.demand import Violation
from model.machine import BusMachine
from model.rolling import RollingBackMachine
from model.run import run
from model.test_model import one_redis
from support.report import Show

from voicebus.bus import scripts
from voicebus.bus.scripts import ScriptName

# What is broken: a text of the scripts, and what stands there instead.
BROKEN: dict[str, tuple[tuple[str, str], ...]] = {
    "fence": (("return owner == token and", "return token and"),),
    "number": (("if this <= last then", "if false then"), ("if this ~= last + 1 then", "if false then")),
    "number-ahead": (("if this ~= last + 1 then", "if this <= last then"),),
    "dedupe": (("if not score then return nil end", "if true then return nil end"),),
    "release": (("if first_after(KEYS[3], get(stage .. '.cursor') or '0-0') then return { 'more' } end", ""),),
    "compare-and-set": (("if not score or (held and tonumber(score) > time) then", "if not score then"),),
    "cancelled": (("if turn ~= '0' and among(cancelled, turn) or", "if"),),
    "withdraw-sentences": (("withdraw(KEYS[6], turn, cut)", ""),),
    "withdraw-speech": (("unspeak(speech, taken)", ""),),
    "abandoned": (("note('abandoned', cut, 64)", ""),),
    "attempts": (("if get(stage .. '.tried_by') ~= token then", "if true then"),),
    "epochs": (("if ARGV[3] ~= '' then", "if false then"),),
    "approve-first": (("request.state ~= 'pending' or", "false or"),),
    "approve-expired": (("request.expires_ms <= clock()", "false"),),
    "approve-turn": (("if request.turn ~= get('active_turn')", "if request.turn == get('active_turn')"),),
    "approve-remember": (("remember(KEYS[2], ARGV[3], ARGV[4], number('seq'))", ""),),
    "ask-expires": (("expires_ms = clock() + tonumber(expires_in_ms)", "expires_ms = clock()"),),
    "settle": (("asked[call] = nil", ""),),
    "approvals-answered": (
        ("'response_from', 'approvals', 'cut:' .. finished)", "'response_from', 'cut:' .. finished)"),
    ),
    "approvals-buried": (("'response_from', 'approvals', 'cut:' .. turn)", "'response_from', 'cut:' .. turn)"),),
    "approvals-cut": (("if turn == get('active_turn') then redis.call('HDEL', session, 'approvals') end", ""),),
    "history-trim": (("redis.call('LTRIM', KEYS[10], -tonumber(arg()), -1)", "arg()"),),
    "history-corrected": (("correct(keys.history, turn, told)", ""),),
    "history-cut": (("set('cut:' .. turn, '{' .. told .. '}')", ""),),
    "heard-rounded-down": (("local count = math.floor(#words * share)", "local count = math.ceil(#words * share)"),),
    "heard-long-word": (("local LONG_WORD = 24", "local LONG_WORD = 240"),),
    "heard-not-all-out": (("sentence.whole and sentence.ms or", "true and sentence.ms or"),),
    "heard-behind": (("if played and was_heard(playback, time) then played = 0 end", ""),),
    "heard-in-turns": (("math.max(time, last and last.from + last.ms or 0)", "time"),),
    "heard-when-dry": (("last.from = math.max(last.from, time - last.ms)", ""),),
    "played": (("return playback.played >= 0 and playback.played or", "return"),),
    "played-furthest": (("math.max(playback.played, before + within)", "before + within"),),
    "played-before": (("if sentence.segment < segment then before = before + sentence.ms end", ""),),
    "played-of-what-is-out": (("math.min(tonumber(ARGV[5]), sentence.ms, since)", "tonumber(ARGV[5])"),),
    "cut-audible": (("if is_playing(playback, time) then going[playback.turn] = true end", ""),),
    "cut-reported": (("return playback.played >= 0 and time - playback.at < REPORTED_MS", "return false"),),
    "cut-spoken": (("do going[field(entry[2], 't')] = true end", "do local _ = entry end"),),
    "cut-answered": (("if active ~= '' then going[active] = true end", ""),),
    "cut-waiting": (("joins and listed('cancelled', active)", "listed('cancelled', active)"),),
    "cut-behind": (("active == '' or joins and listed('cancelled', active)", "active == ''"),),
    "cut-named": (("if waits or going[named] or unheard", "if waits or unheard"),),
    "cut-named-waiting": (("if waits or going[named] or unheard", "if going[named] or unheard"),),
    "cut-named-believed": (("if waits or going[named] or unheard", "if waits or going[named]"),),
    "cut-named-over": (("if waits or going[named] or unheard", "if true"),),
    "cut-in-order": (("table.sort(numbers)", ""),),
    "cut-fenced": (("if token ~= '' and not fenced('stt', token) then return { 'stale' } end", ""),),
    "cut-nothing-once": (
        (
            "remember(KEYS[5], id, ARGV[5], seq)\nif not done",
            "if done then remember(KEYS[5], id, ARGV[5], seq) end\nif not done",
        ),
    ),
    "cut-withdrawn": (("withdraw(keys.tts, turn)", ""),),
    "cut-void": (("unspeak(keys.speech, step.sentences)", ""),),
    "cut-moves-up": (("if playback.from > time then playback.from = free end", ""),),
    "speech-next": (("newest and newest.last + 1 or 1", "number('n') + 1"),),
    "joined": (("table.concat(questions, ' ') }", "'' }"),),
    "joined-asked": (("return not was_heard(playback, time)", "return false"),),
    "joined-heard": (("return not was_heard(playback, time)", "return true"),),
    "joined-begun": (("playback.begun = was_heard(playback, time)", ""),),
    "joined-kept": (("if text ~= '' then set('joined', id .. '|' .. text) end", ""),),
    "joined-repeated": (("known[3] = by == id and text or ''", "known[3] = ''"),),
    "joined-once": (("redis.call('HDEL', session, 'joined')", ""),),
    "said": (("sentence.said = sentence.whole and sentence.ms > 0 and played >= 0", "sentence.said = true"),),
    "said-never": (("sentence.said = sentence.whole and sentence.ms > 0 and played >= 0", "sentence.said = false"),),
    "said-half": (("sentence.said = sentence.whole and", "sentence.said ="),),
}

ROLLING_BACK = {"epochs"}  # what only a server shows that comes back with older data


@pytest.mark.timeout(420)
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
        machine = RollingBackMachine if name in ROLLING_BACK else BusMachine
        with pytest.raises(Violation) as found:
            run(servers, (machine,), first_seed=1, seconds=240, shrink=False)
        line = f"model: broken {name}: found after {servers.steps:,} steps: {str(found.value)[:100]}"
        show(line)
