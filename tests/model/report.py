"""A plug-in that shows at the end of a run what tests have measured: their property `line`."""

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "line":
                terminalreporter.write_line(str(value))
