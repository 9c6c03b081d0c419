"""Where tokens come from."""

import pytest

from voicebus_client.errors import Unauthorized
from voicebus_client.tokens import Tokens


async def test_a_fixed_token_stays() -> None:
    tokens = Tokens("t")
    assert not tokens.can_renew
    assert await tokens.renew() == "t"
    assert await tokens.headers() == {"Authorization": "Bearer t"}


async def test_without_a_token_there_is_no_header() -> None:
    assert await Tokens(None).headers() == {}


async def test_a_function_is_asked_first_and_then_only_to_renew() -> None:
    made = iter(["one", "two"])
    tokens = Tokens(lambda: next(made))
    assert [await tokens.get(), await tokens.get(), await tokens.renew(), await tokens.get()] == [
        "one",
        "one",
        "two",
        "two",
    ]


async def test_the_function_may_be_async() -> None:
    async def make() -> str:
        return "made"

    assert await Tokens(make).get() == "made"


async def test_a_failing_function_is_an_authorization_that_failed() -> None:
    def make() -> str:
        raise ConnectionError("identity provider is down")

    with pytest.raises(Unauthorized, match="identity provider"):
        await Tokens(make).get()
