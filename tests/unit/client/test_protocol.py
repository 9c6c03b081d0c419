"""Which ends are final, and how long to wait after the others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicebus_client.errors import (
    Forbidden,
    SessionEnded,
    SessionNotFound,
    TooBig,
    TooMany,
    Unauthorized,
    VoicebusError,
    error_from_response,
    make_error,
)
from voicebus_client.protocol import Backoff, Reconnect, Retry, Stop


def reconnect(*, can_renew: bool = False, chance: float = 1.0) -> Reconnect:
    return Reconnect(Backoff(1.0, 30.0), can_renew=can_renew, chance=lambda: chance)


@pytest.mark.parametrize(
    ("code", "kind"),
    [(1009, TooBig), (4001, SessionNotFound), (4003, Forbidden), (4403, Forbidden), (4510, SessionEnded)],
)
def test_final_close_codes_stop_with_their_error(code: int, kind: type[VoicebusError]) -> None:
    step = reconnect().closed(code, "", 0.0)
    assert isinstance(step, Stop)
    assert isinstance(step.error, kind)
    assert not step.error.temporary


@pytest.mark.parametrize("code", [None, 1001, 1005, 1006, 1011, 1012, 4429, 4508])
def test_passing_close_codes_are_tried_again(code: int | None) -> None:
    step = reconnect().closed(code, "", 0.0)
    assert isinstance(step, Retry)
    assert step.delay_s == 1.0
    assert step.cause.temporary


def test_a_normal_close_is_the_end_without_an_error() -> None:
    assert reconnect().closed(1000, "", 0.0) == Stop(None)


def test_an_unknown_code_of_the_application_is_final() -> None:
    step = reconnect().closed(4999, "no", 0.0)
    assert isinstance(step, Stop)
    assert step.error is not None
    assert step.error.code == "refused"


def test_a_reason_that_is_a_code_names_the_error() -> None:
    step = reconnect().closed(4401, "token_expired", 0.0)
    assert isinstance(step, Stop)
    assert isinstance(step.error, Unauthorized)
    assert step.error.code == "token_expired"


def test_waits_double_up_to_the_longest_and_start_anew_once_open() -> None:
    state = reconnect()
    steps = [state.closed(None, "", 0.0) for _ in range(7)]
    assert [step.delay_s for step in steps if isinstance(step, Retry)] == [1, 2, 4, 8, 16, 30, 30]
    state.opened()
    step = state.closed(None, "", 0.0)
    assert isinstance(step, Retry)
    assert step.delay_s == 1


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_the_jitter_is_full(failures: int, chance: float) -> None:
    most = Backoff(0.5, 20.0).delay_s(failures, 1.0)
    assert 0 < most <= 20.0
    assert Backoff(0.5, 20.0).delay_s(failures, chance) == most * chance


def test_the_servers_word_when_to_come_back_replaces_the_back_off_once() -> None:
    state = reconnect()
    state.wait_until(107.0)
    told = state.closed(1012, "draining", 100.0)
    after = state.closed(1012, "draining", 200.0)
    assert isinstance(told, Retry)
    assert isinstance(after, Retry)
    assert (told.delay_s, after.delay_s) == (7.0, 2.0)


def test_a_bad_token_is_renewed_once_and_then_final() -> None:
    state = reconnect(can_renew=True)
    first, second = state.closed(4401, "token_expired", 0.0), state.closed(4401, "token_expired", 0.0)
    assert isinstance(first, Retry)
    assert first.renew
    assert first.delay_s == 0
    assert isinstance(second, Stop)
    assert isinstance(second.error, Unauthorized)


def test_after_an_open_connection_the_token_is_renewed_again() -> None:
    state = reconnect(can_renew=True)
    state.closed(4401, "", 0.0)
    state.opened()
    assert isinstance(state.closed(4401, "", 0.0), Retry)


def test_a_fixed_token_that_is_refused_is_final() -> None:
    assert isinstance(reconnect().closed(4401, "token_invalid", 0.0), Stop)


@pytest.mark.parametrize(("status", "final"), [(401, True), (403, True), (404, True), (410, True), (400, True)])
@pytest.mark.parametrize("body", [b"", b"<html>"])
def test_refused_upgrades_are_final_where_the_request_is_wrong(status: int, final: bool, body: bytes) -> None:
    assert isinstance(reconnect().refused(error_from_response(status, body), 0.0), Stop) is final


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_refused_upgrades_pass_where_the_server_is_unwell(status: int) -> None:
    assert isinstance(reconnect().refused(error_from_response(status, b""), 0.0), Retry)


def test_a_refused_upgrade_may_say_when_to_come_back() -> None:
    error = make_error("overloaded", temporary=True, status=429, retry_after_ms=2500)
    step = reconnect().refused(error, 10.0)
    assert isinstance(step, Retry)
    assert step.delay_s == 2.5


def test_a_problem_document_becomes_the_error_of_its_code() -> None:
    body = b'{"code": "too_many_sessions", "title": "Enough.", "temporary": true, "retry_after_ms": 100}'
    error = error_from_response(429, body)
    assert isinstance(error, TooMany)
    assert (error.code, error.message, error.temporary, error.status, error.retry_after_ms) == (
        "too_many_sessions",
        "Enough.",
        True,
        429,
        100,
    )
