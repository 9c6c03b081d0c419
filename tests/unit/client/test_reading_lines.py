"""What a person types, or a pipe brings."""

import asyncio
from pathlib import Path

import pytest

from voicebus_client.cli.chat import read_lines


async def test_what_is_not_text_is_told(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    file.write_bytes(b"hello\n\xff\nnever read\n")
    async with asyncio.timeout(5):
        with file.open(encoding="utf-8") as source, pytest.raises(UnicodeDecodeError):
            [line async for line in read_lines(source)]


async def test_half_a_character_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    file.write_bytes(b"caf\xc3\xa9 \xff\n")
    async with asyncio.timeout(5):
        with file.open(encoding="utf-8", errors="surrogateescape") as source:
            assert [line async for line in read_lines(source)] == ["caf\u00e9 ?"]
