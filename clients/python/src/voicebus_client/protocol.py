"""When to reconnect, and when: the table of close codes and the back-off. Pure."""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from voicebus_client.errors import VoicebusError, make_error

_CODE = re.compile(r"[a-z][a-z_]{2,40}")
_HTTP_CLOSE = {401: 4401, 403: 4403, 404: 4001, 410: 4510}


class After(Enum):
    """What a client does after a connection ended."""

    END = auto()  # nothing went wrong, nothing more comes
    FAIL = auto()  # for good, with an error
    RENEW = auto()  # again, with a new token
    RETRY = auto()  # again, when the server said so, else after the back-off


@dataclass(frozen=True, slots=True)
class CloseRule:
    """What a close code means. `code` is used where the close has no reason that is one."""

    after: After
    code: str
    status: int
    text: str


CLOSE_RULES = {
    1000: CloseRule(After.END, "session_ended", 410, "The session has ended."),
    1009: CloseRule(After.FAIL, "message_too_big", 413, "A message is larger than allowed."),
    1011: CloseRule(After.RETRY, "internal", 500, "Something failed inside the gateway."),
    1012: CloseRule(After.RETRY, "draining", 503, "The gateway is going away."),
    4001: CloseRule(After.FAIL, "session_not_found", 404, "There is no such session."),
    4003: CloseRule(After.FAIL, "origin_not_allowed", 403, "This origin may not connect."),
    4401: CloseRule(After.RENEW, "token_invalid", 401, "The token is missing, wrong or expired."),
    4403: CloseRule(After.FAIL, "not_member", 403, "The session belongs to someone else."),
    4429: CloseRule(After.RETRY, "too_many_connections", 429, "A limit is reached."),
    4508: CloseRule(After.RETRY, "too_slow", 409, "The client fell behind what is kept."),
    4510: CloseRule(After.FAIL, "session_ended", 410, "The session has ended."),
}
_LOST = CloseRule(After.RETRY, "unreachable", 503, "The connection was lost.")
_UNKNOWN = CloseRule(After.FAIL, "refused", 400, "The server closed the connection for good.")


def close_rule(code: int | None) -> CloseRule:
    """The rule for a close code; None stands for a connection that broke without one.

    Codes of applications (4000 and up) that the table does not know are final, others pass.
    """
    if code is None:
        return _LOST
    return CLOSE_RULES.get(code) or (_UNKNOWN if code >= 4000 else _LOST)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits of `first_s` seconds, doubled up to `most_s`, each drawn evenly from zero to that (full jitter)."""

    first_s: float = 1.0
    most_s: float = 30.0

    def delay_s(self, failures: int, chance: float) -> float:
        """How long to wait after so many failures in a row (from 1 on); `chance` is from 0 to 1."""
        doubled = self.first_s * 2.0 ** min(failures - 1, 32)
        return float(min(self.most_s, doubled) * chance)


@dataclass(frozen=True, slots=True)
class Retry:
    """Connect again after `delay_s` seconds, with a new token if `renew`. `cause` is what happened."""

    delay_s: float
    cause: VoicebusError
    renew: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """Don't connect again. Without an error the stream of events is complete."""

    error: VoicebusError | None = None


class Reconnect:
    """Decides after each lost connection. Times are in seconds of any clock that the caller keeps to."""

    def __init__(self, backoff: Backoff, *, can_renew: bool, chance: Callable[[], float] = random.random) -> None:
        self._backoff = backoff
        self._can_renew = can_renew
        self._chance = chance
        self._failures = 0
        self._renewals = 0
        self._not_before_s: float | None = None

    def opened(self) -> None:
        """The server welcomed the client: the back-off starts anew."""
        self._failures = 0
        self._renewals = 0
        self._not_before_s = None

    def wait_until(self, time_s: float) -> None:
        """The server said when to come back (`reconnect_after_ms`, `retry_after_ms`)."""
        self._not_before_s = time_s

    def closed(self, code: int | None, reason: str, now_s: float) -> Retry | Stop:
        """What to do after the connection ended with this close code (None: it broke) and reason."""
        rule = close_rule(code)
        known = _CODE.fullmatch(reason) is not None
        cause = make_error(
            reason if known else rule.code,
            rule.text if known or not reason else reason,
            temporary=rule.after is After.RETRY,
            status=rule.status,
        )
        return self._decide(rule.after, cause, now_s)

    def refused(self, cause: VoicebusError, now_s: float) -> Retry | Stop:
        """What to do after the upgrade to a WebSocket was refused by HTTP."""
        rule = CLOSE_RULES.get(_HTTP_CLOSE.get(cause.status or 0, 0))
        if cause.retry_after_ms is not None:
            self.wait_until(now_s + cause.retry_after_ms / 1000)
        if rule is not None:
            return self._decide(rule.after, cause, now_s)
        return self._decide(After.RETRY if cause.temporary else After.FAIL, cause, now_s)

    def _decide(self, after: After, cause: VoicebusError, now_s: float) -> Retry | Stop:
        if after is After.END:
            return Stop()
        if after is After.FAIL:
            return Stop(cause)
        if after is After.RENEW:
            self._renewals += 1
            return Retry(0.0, cause, renew=True) if self._can_renew and self._renewals == 1 else Stop(cause)
        self._failures += 1
        told, self._not_before_s = self._not_before_s, None
        if told is not None:
            return Retry(max(0.0, told - now_s), cause)
        return Retry(self._backoff.delay_s(self._failures, self._chance()), cause)
