"""What Redis is given of the scripts: each with the definitions that it uses, and no others."""

import re

import pytest

from voicebus.bus.scripts import SCRIPTS, ScriptName, source, used_of

SHARED = """\
-- About all of it.
local session = KEYS[1]

local MOST, LEAST = 4, 2

-- Uses `one`.
local function two()
  return one(MOST) -- not three()
end

local function one(count)
  return count
end

local function three()
  return session
end
"""


def test_a_script_gets_what_it_names_and_what_that_names_in_their_order() -> None:
    given = used_of(SHARED, "return two()")
    assert [line for line in given.splitlines() if line.startswith("local")] == [
        "local MOST, LEAST = 4, 2",
        "local function two()",
        "local function one(count)",
    ]
    assert "--" not in given


def test_what_is_named_in_a_comment_only_is_not_used() -> None:
    assert used_of(SHARED, "return 1 -- as three() does") == ""


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_script_defines_a_function_that_it_never_calls(name: ScriptName) -> None:
    text = source(name)
    names = re.findall(r"local function (\w+)", text)
    assert [name for name in names if len(re.findall(rf"\b{name}\(", text)) < 2] == []
