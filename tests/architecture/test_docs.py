"""Documents say what the code says."""

import importlib.util
from pathlib import Path

from voicebus.contract.close import Close
from voicebus.contract.errors import ERRORS

ROOT = Path(__file__).parents[2]
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text()


def test_the_table_of_errors_is_the_codes_own() -> None:
    spec = importlib.util.spec_from_file_location("tables", ROOT / "docs" / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    assert tables.with_error_table(PROTOCOL) == PROTOCOL


def test_every_close_code_is_documented_and_every_error_closes_with_one_of_them() -> None:
    codes = {int(code) for code in Close}
    assert {row.close for row in ERRORS.values() if row.close} <= codes
    for code in codes - {Close.NORMAL}:
        assert f"| {code} |" in PROTOCOL
