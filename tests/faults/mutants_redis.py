"""How to break what the scenarios in which Redis itself fails watch."""

from mutants.mutant import Mutant

_FOLLOWER = "services/gateway/src/gateway/follower.py"
_LUA = "shared/src/voicebus/bus/lua"
_OUTAGES = "tests/faults/test_redis_outages.py"
_FULL = "tests/faults/test_redis_full.py"
_MACHINE = f"{_OUTAGES}::test_what_redis_had_not_on_disk_when_its_machine_failed_is_told_and_said_again"
_TURNS = "tests/faults/test_redis_turns.py::test_a_turn_is_the_same_whatever_redis_does_in_the_middle_of_it"
_SENTINEL = "tests/faults/test_sentinel_failover.py"
_CLUSTER = "tests/faults/test_cluster_failover.py"
_TAKEN_ALONG = "test_what_a_killed_primary_takes_along_is_told_and_said_again"
_SILENT = "test_a_primary_that_was_silent_and_comes_back_as_one_misleads_nobody"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "written-again",
        "a worker's write that goes out again has no second effect",
        f"{_LUA}/writes.lua",
        "if this <= last then return { 'repeated', number(ITS_RESULT), 1 } end\n  if this ~= last + 1 then",
        "if this > last + 1 then",
        (
            f"{_OUTAGES}::test_all_wait_for_a_redis_that_stalls",
            f"{_OUTAGES}::test_what_was_on_its_way_when_redis_cut_its_clients_off_takes_effect_once",
        ),
    ),
    Mutant(
        "resent-by-a-worker",
        "what an agent or TTS worker says again when its way to Redis broke has no second effect",
        f"{_LUA}/writes.lua",
        "if this <= last then return { 'repeated', number(ITS_RESULT), 1 } end\n  if this ~= last + 1 then",
        "if this <= last and ARGV[4] == 'stt' then\n"
        "  return { 'repeated', number(ITS_RESULT), 1 }\n"
        "end\n"
        "if this > last + 1 then",
        (f"{_TURNS}[one Redis-stalls]",),
    ),
    Mutant(
        "journal-behind-a-restart",
        "who takes a turn up when Redis is back with its file goes on from the journal",
        "services/agent-worker/src/agent_worker/respond.py",
        "entries = [load_entry(raw) for raw in delivery.journal]",
        "entries = [load_entry(raw) for raw in delivery.journal if delivery.attempt == 1]",
        (f"{_TURNS}[one Redis-killed]",),
    ),
    Mutant(
        "not-read-again",
        "what was published while nobody listened is read from the log",
        "services/gateway/src/gateway/feed.py",
        "        self._again = self.reading\n        self.reading = True\n        if sent",
        "        if sent",
        (
            f"{_OUTAGES}::test_who_was_cut_off_from_what_is_published_reads_what_it_missed",
            f"{_OUTAGES}::test_all_wait_for_a_redis_that_is_killed_and_comes_back_with_its_file",
            f"{_CLUSTER}::{_TAKEN_ALONG}",
        ),
    ),
    Mutant(
        "read-twice",
        "who reads what it missed gets nothing that it has",
        _FOLLOWER,
        "self._feed.read_again()",
        'self._feed.read_again(self.sent.model_copy(update={"seq": max(0, self.sent.seq - 2)}))',
        (f"{_OUTAGES}::test_who_was_cut_off_from_what_is_published_reads_what_it_missed",),
    ),
    Mutant(
        "read-with-holes",
        "who reads what it missed gets all of it",
        _FOLLOWER,
        "items = self._feed.page(page)",
        "items = self._feed.page(page)[self._joined :]",
        (f"{_OUTAGES}::test_who_was_cut_off_from_what_is_published_reads_what_it_missed",),
    ),
    Mutant(
        "taken-for-done",
        "a write whose script Redis has forgotten is made when it has it again",
        "shared/src/voicebus/bus/lane.py",
        '            reason = "Redis puts calls off."',
        "            if reply.kind == 'NOSCRIPT' and b'\\r\\nagent\\r\\n' in letter[0].command:\n"
        "                for call in letter:\n"
        "                    call.settle([b'ok', b'0-0', 1, b''])\n"
        "                continue\n"
        '            reason = "Redis puts calls off."',
        (f"{_OUTAGES}::test_what_needs_a_script_that_redis_has_forgotten_takes_effect_once",),
    ),
    Mutant(
        "one-epoch",
        "a server with another history is another epoch",
        f"{_LUA}/prelude.lua",
        "known_epoch = string.sub(string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)'), 1, 8)",
        "known_epoch = '01234567'",
        (_MACHINE, f"{_SENTINEL}::{_TAKEN_ALONG}", f"{_SENTINEL}::{_SILENT}"),
    ),
    Mutant(
        "old-epoch",
        "what was lost with an epoch is told to who had it",
        f"{_LUA}/read.lua",
        "valid, valid_n = math.min(valid, tonumber(seq) - 1), math.min(valid_n, tonumber(n) - 1)",
        "",
        (_MACHINE,),
    ),
    Mutant(
        "said-once",
        "what was acknowledged and is lost with an epoch is said again",
        "clients/python/src/voicebus_client/outbox.py",
        "lost = [done for done in self._done if done.epoch != epoch and done.seq > seq]",
        "lost = list[_Done]()",
        (_MACHINE, f"{_SENTINEL}::{_TAKEN_ALONG}", f"{_SENTINEL}::{_SILENT}"),
    ),
    Mutant(
        "refused-for-good",
        "what there is no room for is to be said again",
        "shared/src/voicebus/contract/errors.py",
        '"The bus is out of memory or disk space.", 507, True',
        '"The bus is out of memory or disk space.", 507, False',
        (
            f"{_FULL}::test_without_memory_input_is_refused_and_workers_finish",
            f"{_FULL}::test_while_its_disk_is_full_redis_takes_nothing_and_loses_nothing",
        ),
    ),
)
