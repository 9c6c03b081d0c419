"""What the scenarios of turns watch, broken."""

from mutants.mutant import Mutant

_HERE = "tests/faults"
_LUA = "shared/src/voicebus/bus/lua"
_AGENT = "services/agent-worker/src/agent_worker"
_BOUNDARIES = (f"{_HERE}/test_every_boundary.py",)
_ZOMBIES = (f"{_HERE}/test_zombies.py",)
_KILLS = (f"{_HERE}/test_kills.py",)
_INTERRUPTIONS = (f"{_HERE}/test_interruptions.py",)
_POISON = (f"{_HERE}/test_poison.py",)
_DEPLOY = (f"{_HERE}/test_rolling_deploy.py::test_agent_and_tts_workers_are_replaced_in_the_middle_of_turns",)
_EARS = {
    "stopped": f"{_HERE}/test_zombies.py::test_what_a_stopped_stt_worker_has_understood_is_refused",
    "poisoned": f"{_HERE}/test_poisoned_ears.py",
    "replaced": f"{_HERE}/test_rolling_deploy.py::test_stt_workers_are_replaced_in_the_middle_of_utterances",
}

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "turn-journal",
        "the next worker goes on from the journal",
        f"{_AGENT}/respond.py",
        "entries = [load_entry(raw) for raw in delivery.journal]",
        "entries = [load_entry(raw) for raw in delivery.journal][:0]",
        _BOUNDARIES,
    ),
    Mutant(
        "turn-written-down",
        "a call is written down before it is made",
        f"{_AGENT}/calls.py",
        "await self._lease.emit(emission.journal(dump_entry(started)))",
        "await self._lease.emit(emission)",
        (*_KILLS, *_BOUNDARIES),
    ),
    Mutant(
        "turn-told",
        "the model is told of a call of which nobody knows what came",
        f"{_AGENT}/calls.py",
        'outcome = _without_call("unknown", UNKNOWN)',
        'outcome = _without_call("error", "The call was not made.")',
        (f"{_HERE}/test_unknown_outcome.py", *_BOUNDARIES),
    ),
    Mutant(
        "turn-silence",
        "what was heard of a silent stream is let go of",
        "services/stt-worker/src/stt_worker/microphone.py",
        "if self._progress and (emission or mail_id):",
        "if self._progress and emission:",
        (f"{_HERE}/test_silence.py",),
    ),
    Mutant(
        "turn-unknown",
        "a call that may have been made is not made again",
        f"{_AGENT}/turn.py",
        '"repeat" if self.started.repeatable else "give_up"',
        '"repeat"',
        _BOUNDARIES,
    ),
    Mutant(
        "turn-fence",
        "a worker that lost its lease writes nothing more",
        f"{_LUA}/writes.lua",
        "if not is_valid(token, owner) then return { 'stale' } end",
        "",
        _ZOMBIES,
    ),
    Mutant(
        "turn-utterance",
        "the next stt worker hears the utterance from its beginning",
        "services/stt-worker/src/stt_worker/microphone.py",
        "await self._lease.emit(self._reporter.partial(event))",
        "await self._lease.emit(self._reporter.partial(event).cursor(self._read_to))",
        _KILLS,
    ),
    Mutant(
        "turn-segment",
        "the next tts worker goes on at the sample that was emitted last",
        "services/tts-worker/src/tts_worker/speak.py",
        "self.samples = int(samples)",
        "self.samples = int(samples) * 0",
        _KILLS,
    ),
    Mutant(
        "turn-heard",
        "a turn stands in the history as it was heard",
        f"{_LUA}/cut.lua",
        "    correct(keys.history, turn, told)\n",
        "",
        _INTERRUPTIONS,
    ),
    Mutant(
        "turn-called-off",
        "a tool of an interrupted turn is told to stop",
        "shared/src/voicebus/chassis/held.py",
        "            if task := self._running.get(turn):\n                task.cancel()\n",
        "",
        _INTERRUPTIONS,
    ),
    Mutant(
        "turn-attempts",
        "mail that fails too often is given up",
        f"{_LUA}/next.lua",
        "if given[3] > tonumber(ARGV[6]) then return bury() end",
        "",
        _POISON,
    ),
    Mutant(
        "turn-hand-over",
        "a hand-over in good order is no failed attempt",
        f"{_LUA}/handover.lua",
        "redis.call('HINCRBY', session, stage .. '.attempts', -1)",
        "",
        _DEPLOY,
    ),
    Mutant(
        "ears-fence",
        "an stt worker that lost its lease opens no turn",
        f"{_LUA}/writes.lua",
        "if not is_valid(token, owner) then return { 'stale' } end",
        "if ARGV[4] ~= 'stt' and not is_valid(token, owner) then return { 'stale' } end",
        (_EARS["stopped"],),
    ),
    Mutant(
        "ears-attempts",
        "sound that fails too often is given up",
        f"{_LUA}/next.lua",
        "if given[3] > tonumber(ARGV[6]) then return bury() end",
        "if stage ~= 'stt' and given[3] > tonumber(ARGV[6]) then return bury() end",
        (_EARS["poisoned"],),
    ),
    Mutant(
        "ears-drain",
        "who goes in the middle of an utterance hears it to its end, or leaves all of it to the next one",
        "services/stt-worker/src/stt_worker/transcribe.py",
        "if held.draining and not microphone.speaking:\n",
        "if held.draining:\n                await microphone.pause()\n",
        (_EARS["replaced"],),
    ),
)
