"""A plug-in that shows at the end of a run what tests have measured, whichever process ran them."""

from collections.abc import Callable

import pytest

Show = Callable[[str], None]


@pytest.fixture
def show(record_property: Callable[[str, object], None]) -> Show:
    """Shows a line in the run's summary."""
    return lambda line: record_property("line", line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, value in report.user_properties:
                if name == "line":
                    terminalreporter.write_line(str(value))
