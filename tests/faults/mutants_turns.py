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
_DEPLOY = (f"{_HERE}/test_rolling_deploy.py",)

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
        f"{_LUA}/emit.lua",
        "if not fenced(stage, token) then return { 'stale' } end",
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
)
