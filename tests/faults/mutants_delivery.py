"""How to break what the scenarios between clients and gateways watch."""

from mutants.mutant import Mutant

_LUA = "shared/src/voicebus/bus/lua"
_GATEWAY = "services/gateway/src/gateway"
_CLIENT = "clients/python/src/voicebus_client"
_PRIVACY = "tests/faults/test_privacy.py"
_CUTS = "tests/faults/test_cuts_in_the_way.py"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "position-ahead",
        "a client that comes back asks for what follows the last event that it got",
        f"{_CLIENT}/position.py",
        'fields = {"after": str(self.seq)}',
        'fields = {"after": str(self.seq + 1 if self.seq > 2 else self.seq)}',
        (f"{_CUTS}::test_clients_whose_connections_break_all_the_time_get_every_event",),
    ),
    Mutant(
        "sent-twice",
        "a client that comes back is sent nothing that it has",
        f"{_GATEWAY}/outgoing.py",
        "start = asked or session.position",
        'start = asked.model_copy(update={"seq": asked.seq - (asked.seq > 2)}) if asked else session.position',
        (
            "tests/faults/test_gateway_kill.py",
            f"{_CUTS}::test_clients_whose_connections_break_all_the_time_get_every_event",
            "tests/faults/test_drain.py",
        ),
    ),
    Mutant(
        "sent-again",
        "a message that a client sends again has no second effect",
        f"{_LUA}/submit.lua",
        "local known = seen(KEYS[5], ARGV[4], ARGV[5])\nif known then return known end\n",
        "",
        (f"{_CUTS}::test_messages_that_are_sent_again_after_each_cut_have_one_effect",),
    ),
    Mutant(
        "deaf-for-long",
        "a client that hears nothing for two pings takes the line for dead",
        f"{_CLIENT}/link.py",
        "silent_s = self._heard_s + 2 * self._ping_s",
        "silent_s = self._heard_s + 8 * self._ping_s",
        (f"{_CUTS}::test_dead_lines_are_noticed_by_both_sides",),
    ),
    Mutant(
        "held-for-long",
        "a gateway drops a client that answers no ping",
        f"{_GATEWAY}/link.py",
        "_UNANSWERED_MOST: Final = 2",
        "_UNANSWERED_MOST: Final = 8",
        (f"{_CUTS}::test_dead_lines_are_noticed_by_both_sides",),
    ),
    Mutant(
        "seems-to-live",
        "a client that has its ping and answers nothing is dropped while events flow",
        f"{_GATEWAY}/link.py",
        "takes_on = self._taken < taken <= self._before_ping",
        "takes_on = self._taken < taken",
        (f"{_CUTS}::test_dead_lines_are_noticed_by_both_sides",),
    ),
    Mutant(
        "back-too-early",
        "a client comes back when the draining gateway has told it to",
        f"{_CLIENT}/session.py",
        'now_s + event.number("reconnect_after_ms") / 1000',
        'now_s + event.number("reconnect_after_ms") / 5000',
        ("tests/faults/test_drain.py",),
    ),
    Mutant(
        "slow-skips",
        "a client whose queue overflowed goes on from the log where it was",
        f"{_GATEWAY}/follower.py",
        "self._feed.read_again(self.sent)",
        "self._feed.read_again()",
        ("tests/faults/test_slow_reader.py",),
    ),
    Mutant(
        "strangers",
        "a session is not there for who is neither its owner nor a member",
        f"{_GATEWAY}/rest/callers.py",
        'if not session.admits(who.sub):\n        raise Refused("session_not_found")\n    return session',
        "return session",
        (_PRIVACY,),
    ),
    Mutant(
        "listed-to-all",
        "whoever lists sessions gets their own",
        "shared/src/voicebus/contract/keys.py",
        'return f"{self.prefix}:u:{sub}:sessions"',
        'return f"{self.prefix}:u:all:sessions"',
        (_PRIVACY,),
    ),
    Mutant(
        "told-logs",
        "no log holds what people say",
        "services/agent-worker/src/agent_worker/respond.py",
        '"turn_answered", session_id=held.session_id, turn=mail.turn, attempt=delivery.attempt',
        '"turn_answered", session_id=held.session_id, turn=mail.turn, said=mail.content, attempt=delivery.attempt',
        (_PRIVACY,),
    ),
    Mutant(
        "audio-twice",
        "audio that a client sends again is kept once",
        f"{_LUA}/audio.lua",
        "if skip < 0 then return { 'gap', expected } end",
        "if skip < 0 then return { 'gap', expected } end\nskip = 0",
        ("tests/faults/test_cut_while_speaking.py",),
    ),
)
