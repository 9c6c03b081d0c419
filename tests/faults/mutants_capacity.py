"""Ways to break what the scenarios of clocks, overload, privacy and slow readers watch, and the soak."""

from typing import Final

from mutants.mutant import Mutant

_BUS: Final = "shared/src/voicebus/bus"
_GATEWAY: Final = "services/gateway/src/gateway"
_OVERLOAD: Final = ("tests/faults/test_overload.py",)
_CLOCKS: Final = ("tests/faults/test_clocks.py::test_who_is_minutes_ahead_or_behind_changes_nothing",)

MUTANTS: Final = (
    Mutant(
        "approval-own-clock",
        "a request for an approval expires by Redis's clock",
        f"{_BUS}/lease.py",
        '(entry["expires_ms"] - now_ms) / 1000',
        '(entry["expires_ms"] - __import__("time").time() * 1000) / 1000',
        _CLOCKS,
    ),
    Mutant(
        "replay-by-timestamp",
        "a log is read in the order of its numbers",
        f"{_BUS}/log.py",
        "        return page_of(reply, position)\n",
        "        page = page_of(reply, position)\n"
        '        page.items.sort(key=lambda item: item.body.partition(b\'"timestamp":"\')[2][:23])\n'
        "        return page\n",
        _CLOCKS,
    ),
    Mutant(
        "lets-all-in",
        "input is refused while what was accepted before it waits too long",
        f"{_GATEWAY}/admission.py",
        "            if late_s > 0:\n",
        "            if late_s > 3_600:\n",
        _OVERLOAD,
    ),
    Mutant(
        "refused-in-effect",
        "what is refused has no effect",
        f"{_GATEWAY}/incoming.py",
        "        await self._let_in(command)\n",
        "        self._client.start(self._let_in(command))\n",
        _OVERLOAD,
    ),
    Mutant(
        "ended-leaves",
        "a session that ended leaves nothing",
        f"{_BUS}/lua/close.lua",
        "KEYS[11], KEYS[12], KEYS[13] }) do",
        "KEYS[11], KEYS[12] }) do",
        ("tests/faults/test_soak.py",),
    ),
    Mutant(
        "refusal-logs",
        "no log holds what was refused",
        f"{_GATEWAY}/incoming.py",
        "            await self._complain(error, ref or message_ref(raw))\n",
        "            await self._complain(error, ref or message_ref(raw))\n"
        "            __import__('structlog').get_logger().info('refused', raw=raw)\n",
        ("tests/faults/test_privacy.py",),
    ),
    Mutant(
        "slow-is-dead",
        "a client that takes what waits before its ping lives",
        f"{_GATEWAY}/link.py",
        "takes_on = self._taken < taken <= self._before_ping",
        "takes_on = False",
        ("tests/faults/test_slow_reader.py",),
    ),
)
