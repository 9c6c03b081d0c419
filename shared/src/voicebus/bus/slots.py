"""Which of Redis Cluster's slots a key, a channel or a command belongs to."""

import binascii

from voicebus.bus.wire import Arg

SLOTS = 16_384
_KEY_AFTER_COUNT = {"EVALSHA", "EVAL"}  # script, number of keys, keys, arguments
_KEY_AFTER_WORD = {"MEMORY", "OBJECT"}
_KEYLESS = {"PING", "TIME", "INFO", "CONFIG", "SCRIPT", "CLIENT", "CLUSTER"}
_KEYLESS_SLOT = 0  # commands without a key are for any server: they go where this slot is


def slot_of_key(key: str | bytes) -> int:
    """The slot of a key or a channel: of what stands between its first `{` and the next `}`, if anything does."""
    name = key.encode() if isinstance(key, str) else key
    start = name.find(b"{")
    if start >= 0:
        end = name.find(b"}", start + 1)
        if end > start + 1:
            name = name[start + 1 : end]
    return binascii.crc_hqx(name, 0) % SLOTS


def slot_of_command(command: tuple[Arg, ...]) -> int:
    """The slot of the command's first key."""
    word = command[0]
    if word in _KEYLESS:
        return _KEYLESS_SLOT
    at = 1
    if word in _KEY_AFTER_COUNT:
        at = 3 if int(command[2]) else len(command)
    elif word in _KEY_AFTER_WORD:
        at = 2
    if at >= len(command):
        return _KEYLESS_SLOT
    key = command[at]
    return slot_of_key(key if isinstance(key, bytes) else str(key))
