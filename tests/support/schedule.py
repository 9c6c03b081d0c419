"""A plug-in that deals the test files out to processes: long ones first, so that none is left over at the end."""

from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]  # it ships no types

FIRST = ("tests/model/", "tests/faults/", "tests/e2e/")


class LongestFirst(LoadFileScheduling):  # type: ignore[misc]  # as above
    """A file is one process's, and so is the folder of the end-to-end tests: they share a stack of services."""

    def _split_scope(self, nodeid: str) -> str:
        return "tests/e2e" if nodeid.startswith("tests/e2e/") else str(super()._split_scope(nodeid))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(FIRST))


@pytest.hookimpl(optionalhook=True)  # there may be no xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LongestFirst:
    config.option.loadscopereorder = False
    return LongestFirst(config, log)
