"""One way to break each invariant, and the tests whose assertions are to notice."""

from mutants.mutant import Mutant, Suite

LUA = "shared/src/voicebus/bus/lua"
BUS = "tests/integration/bus"
AGENT = "services/agent-worker/src/agent_worker"
STT = "services/stt-worker/src/stt_worker"
TTS = "services/tts-worker/src/tts_worker"
GATEWAY = "services/gateway/src/gateway"


MUTANTS = (
    # One owner at a time, and its writes once and in order.
    Mutant(
        "fence",
        "a write with an older fencing token is refused",
        f"{LUA}/prelude.lua",
        "return get(stage .. '.token') == token and string.match(token, '%.(%x+)$') == epoch()",
        "return string.match(token, '%.(%x+)$') == epoch()",
        (f"{BUS}/test_stages.py::test_an_expired_lease_is_taken_over_and_the_old_owner_writes_nothing_more",),
    ),
    Mutant(
        "fence-epoch",
        "a fencing token is valid in its epoch only",
        f"{LUA}/prelude.lua",
        "return get(stage .. '.token') == token and string.match(token, '%.(%x+)$') == epoch()",
        "return get(stage .. '.token') == token",
        (f"{BUS}/test_stages.py::test_a_lease_of_another_epoch_is_free_at_once",),
    ),
    Mutant(
        "number-repeated",
        "a write that was applied is not applied again",
        f"{LUA}/emit.lua",
        "if this <= last then return { 'repeated', tonumber(get(stage .. '.result') or '0'), 1 } end\n"
        "if this ~= last + 1 then",
        "if this > last + 1 then",
        (f"{BUS}/test_stages.py::test_a_write_sent_twice_is_applied_once",),
    ),
    Mutant(
        "number-gap",
        "a write ahead of its turn is not applied",
        f"{LUA}/emit.lua",
        "if this ~= last + 1 then return { 'gap', last } end",
        "",
        (f"{BUS}/test_stages.py::test_a_write_ahead_of_its_turn_is_not_applied",),
    ),
    Mutant(
        "lease",
        "a lease that has not expired is nobody else's",
        f"{LUA}/lease.lua",
        "if not score or (held and tonumber(score) > time) then",
        "if not score then",
        (f"{BUS}/test_stages.py::test_only_one_worker_gets_the_lease",),
    ),
    Mutant(
        "release",
        "a stage with mail is not given back",
        f"{LUA}/release.lua",
        "if first_after(KEYS[3], get(stage .. '.cursor') or '0-0') then return { 'more' } end",
        "",
        (f"{BUS}/test_stages.py::test_release_is_refused_while_mail_waits",),
    ),
    Mutant(
        "hand-over-counts",
        "a hand-over in good order is no failed attempt",
        f"{LUA}/handover.lua",
        "redis.call('HINCRBY', session, stage .. '.attempts', -1)",
        "",
        (f"{BUS}/test_interruption.py::test_a_hand_over_in_good_order_is_no_failed_attempt",),
    ),
    Mutant(
        "attempts",
        "mail that fails too often is given up",
        f"{LUA}/next.lua",
        "if given[3] > tonumber(ARGV[6]) then return bury() end",
        "",
        (f"{BUS}/test_stages.py::test_mail_that_fails_too_often_is_buried_with_its_error_and_the_next_is_served",),
    ),
    # Input has one effect.
    Mutant(
        "dedupe",
        "the same message id has one effect",
        f"{LUA}/prelude.lua",
        "if not score then return nil end",
        "if true then return nil end",
        (f"{BUS}/test_submit.py::test_the_same_message_twice_has_one_effect_and_the_same_ack",),
    ),
    Mutant(
        "digest",
        "the same message id with other content is a conflict",
        f"{LUA}/prelude.lua",
        "score % SHIFT == tonumber(digest) and 'repeated' or 'conflict'",
        "'repeated'",
        (f"{BUS}/test_submit.py::test_the_same_id_with_other_content_is_a_conflict",),
    ),
    Mutant(
        "audio-offset",
        "audio that is sent again is kept once",
        f"{LUA}/audio.lua",
        "bytes = string.sub(bytes, expected - offset + 1)",
        "",
        (f"{BUS}/test_audio.py::test_bytes_sent_twice_are_kept_once",),
    ),
    Mutant(
        "audio-owner",
        "a stream that was taken over is closed to its older connection",
        f"{LUA}/audio.lua",
        "if get('audio.owner') ~= ARGV[3] then return { 'taken' } end",
        "",
        (f"{BUS}/test_audio.py::test_another_connection_takes_the_stream_over_where_it_stands",),
    ),
    Mutant(
        "memory-limit",
        "at the memory limit workers finish what was accepted",
        f"{LUA}/emit.lua",
        "trim_log(log, ARGV[3])\nif not fenced",
        "set('busy', 1)\nif not fenced",
        (f"{BUS}/test_outages.py::test_at_the_memory_limit_input_is_refused_and_workers_finish",),
    ),
    # Nothing that waits is trimmed; nothing accepted is without someone to wake for it.
    Mutant(
        "trim",
        "mail that waits is not trimmed",
        f"{LUA}/prelude.lua",
        "redis.call('XTRIM', mailbox, 'MINID', id)",
        "redis.call('XTRIM', mailbox, 'MAXLEN', 0)",
        (f"{BUS}/test_stages.py::test_mail_that_fails_too_often_is_buried_with_its_error_and_the_next_is_served",),
    ),
    Mutant(
        "ready",
        "mail for an idle stage is seen by a worker",
        f"{LUA}/prelude.lua",
        "redis.call('ZADD', ready, 0, get('sid'))\n    publish",
        "publish",
        (f"{BUS}/test_submit.py::test_a_text_opens_a_turn_and_waits_for_the_agent",),
    ),
    # The log is the truth, and no gap is silent.
    Mutant(
        "epochs",
        "a position is valid up to its epoch's last event",
        f"{LUA}/read.lua",
        "valid, valid_n = math.min(valid, tonumber(seq) - 1), math.min(valid_n, tonumber(n) - 1)",
        "",
        (f"{BUS}/test_epochs.py",),
    ),
    Mutant(
        "re-read",
        "after a lost connection a session's log is read again",
        f"{GATEWAY}/follower.py",
        '"""Something may be missing; from the hub."""\n        self._feed.read_again()\n',
        '"""Something may be missing; from the hub."""\n',
        ("tests/integration/gateway/test_deafness.py",),
    ),
    Mutant(
        "after-seq",
        "speech comes after the event that it names",
        f"{GATEWAY}/feed.py",
        "return item.seq > at.seq or item.n > at.speech + 1",
        "return item.n > at.speech + 1",
        ("tests/unit/gateway/test_feed.py",),
    ),
    Mutant(
        "hole",
        "an event behind a hole is not sent before what is missing",
        f"{GATEWAY}/feed.py",
        "return item.seq > at.seq + 1",
        "return False",
        ("tests/unit/gateway/test_feed.py",),
    ),
    # A turn survives its worker.
    Mutant(
        "journal",
        "the next worker goes on from the journal",
        f"{AGENT}/respond.py",
        "entries = [load_entry(raw) for raw in delivery.journal]",
        "entries = [load_entry(raw) for raw in delivery.journal][:0]",
        ("tests/integration/agent_worker/test_resume.py",),
    ),
    Mutant(
        "unknown",
        "a call that may not be repeated is not made again",
        f"{AGENT}/turn.py",
        '"repeat" if self.started.repeatable else "give_up"',
        '"repeat"',
        (
            "tests/integration/agent_worker/test_resume.py::test_a_tool_that_may_not_be_repeated_never_has_its_effect_twice",
        ),
    ),
    Mutant(
        "restart",
        "sentences of a response that was cut are taken back",
        f"{LUA}/emit.lua",
        "    withdraw(KEYS[6], turn, cut)\n",
        "",
        (f"{BUS}/test_stages.py::test_a_restarted_response_takes_its_sentences_back_and_refuses_later_ones",),
    ),
    Mutant(
        "restart-speech",
        "speech of a response that was cut is taken back",
        f"{LUA}/emit.lua",
        "  unspeak(speech, taken)\n",
        "",
        (f"{BUS}/test_heard.py::test_sentences_that_were_heard_of_an_abandoned_response_are_known",),
    ),
    Mutant(
        "abandoned",
        "a response that was abandoned is refused",
        f"{LUA}/emit.lua",
        " or listed('abandoned', response) then",
        " then",
        (f"{BUS}/test_stages.py::test_a_restarted_response_takes_its_sentences_back_and_refuses_later_ones",),
    ),
    Mutant(
        "said",
        "sentences that were heard are not spoken again",
        f"{AGENT}/answer.py",
        "if self._said.get(segment) == text:",
        "if False:",
        (
            "tests/integration/agent_worker/test_resume.py::test_sentences_that_were_heard_before_a_death_are_not_spoken_again",
        ),
    ),
    Mutant(
        "segment",
        "a sentence goes on at the sample that was emitted last",
        f"{TTS}/speak.py",
        "self.samples = int(samples)",
        "self.samples = int(samples) * 0",
        ("tests/integration/tts_worker/test_speak.py",),
    ),
    Mutant(
        "cut-point",
        "the stt stage's cursor stays at a cut point",
        f"{STT}/microphone.py",
        "mail_id = self._marks.pass_by(checkpoint.needs_from)",
        "mail_id = self._marks.pass_by(self._position)",
        ("tests/integration/stt_worker/test_transcribe.py",),
    ),
    Mutant(
        "approval",
        "a person's first word about a call counts",
        f"{LUA}/approve.lua",
        "if not request or request.state ~= 'pending' or",
        "if not request or",
        ("tests/integration/agent_worker/test_approvals.py::test_the_first_word_counts_and_the_second_person_is_told",),
    ),
    # An interruption ends a turn.
    Mutant(
        "cancelled",
        "nothing of an interrupted turn is accepted",
        f"{LUA}/emit.lua",
        "if turn ~= '0' and listed('cancelled', turn) or",
        "if",
        (f"{BUS}/test_stages.py::test_after_an_interruption_nothing_of_the_turn_is_accepted_or_kept",),
    ),
    Mutant(
        "withdrawn",
        "speech of an interrupted turn is not replayed",
        f"{LUA}/cut.lua",
        "  unspeak(keys.speech, step.sentences)\n",
        "",
        (f"{BUS}/test_stages.py::test_after_an_interruption_nothing_of_the_turn_is_accepted_or_kept",),
    ),
    Mutant(
        "interrupt-fence",
        "a listener that lost its lease interrupts nothing",
        f"{LUA}/interrupt.lua",
        "if token ~= '' and not fenced('stt', token) then return { 'stale' } end",
        "",
        (f"{BUS}/test_interruption.py::test_a_listener_that_lost_its_lease_interrupts_nothing",),
    ),
    Mutant(
        "joined",
        "a question that goes on is not thrown away",
        f"{STT}/microphone.py",
        "self._before = await self._lease.interrupt(speech_id, agent_type=session.agent_type)",
        "await self._lease.interrupt(speech_id, agent_type=session.agent_type)",
        ("tests/integration/stt_worker/test_transcribe.py",),
    ),
    Mutant(
        "heard",
        "history holds what was heard",
        f"{LUA}/cut.lua",
        "    correct(keys.history, turn, told)\n",
        "",
        (f"{BUS}/test_heard.py::test_history_holds_what_was_heard_of_a_complete_answer",),
    ),
)

SUITE = Suite(MUTANTS)
