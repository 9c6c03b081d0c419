"""Breaks one promise after the other, and sees whether the tests' own assertions notice.

`make mutants` breaks the invariants, `make faults-mutants` what the fault suite watches. Each mutant is made in a copy
of the sources, which the tests and the processes that they start find by PYTHONPATH. First the same tests run on an
unbroken copy: they must pass. A mutant has survived if one of the tests that are named passes, or fails only by a crash
or a time-out; or if it breaks calm runs, in which nothing goes wrong, and its suite has such.
"""

import argparse
import importlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from mutants.mutant import Mutant, Suite

ROOT = Path(__file__).parents[2]
SOURCES = tuple(path.parent for pattern in ("*/src", "*/*/src") for path in sorted(ROOT.glob(f"{pattern}/*/")))
TIMEOUT_S, TIMEOUT_ALL_S = 240, 900


def copy_sources(folder: Path) -> list[Path]:
    """The sources of all packages, copied into the folder; the paths to import them from."""
    roots = sorted({source for source in SOURCES if ".venv" not in source.parts})
    for root in roots:
        shutil.copytree(
            root, folder / root.relative_to(ROOT), ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    return [folder / root.relative_to(ROOT) for root in roots]


def break_it(folder: Path, mutant: Mutant) -> None:
    """Changes the copy.

    Raises:
        ValueError: the text to replace isn't there exactly once.
    """
    path = folder / mutant.path
    text = path.read_text()
    if text.count(mutant.old) != 1:
        raise ValueError(f"{mutant.path} holds the text of {mutant.name!r} {text.count(mutant.old)} times")
    path.write_text(text.replace(mutant.old, mutant.new))


def run_tests(suite: Suite, roots: Sequence[Path], tests: Sequence[str], report: Path, *options: str) -> int:
    """Runs the tests on these sources; pytest's exit code. With options they have less time than all together."""
    path = os.pathsep.join(map(str, roots))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "junit_family=xunit1"]
    command += [f"--junitxml={report}", *options, *tests]
    environment = os.environ | suite.environment | {"PYTHONPATH": path}
    timeout_s = TIMEOUT_S if options else TIMEOUT_ALL_S
    with (
        report.with_suffix(".log").open("w") as log,
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True) as running,
    ):
        try:
            return running.wait(timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)  # with the servers that it has started
            raise


def failures(report: Path, evidence: re.Pattern[str]) -> Iterator[tuple[str, bool]]:
    """Why tests failed: the first line, and whether it was an assertion that shows the break."""
    for case in ET.parse(report).iter("testcase"):
        for failure in case.iter("failure"):
            why = failure.get("message", "")
            yield why.partition("\n")[0], bool(evidence.search(f"{why}\n{failure.text}"))


def verdict(mutant: Mutant, suite: Suite, folder: Path) -> str:
    """What became of the mutant: '' if it was caught."""
    roots = copy_sources(folder)
    break_it(folder, mutant)
    report = folder / "report.xml"
    try:
        if suite.calm and run_tests(suite, roots, suite.calm, report, "-n0", "-x") != 0:
            return "it breaks calm runs, too"
    except subprocess.TimeoutExpired:
        return "calm runs do not end"
    return next(filter(None, (_unnoticed(suite, roots, test, report) for test in mutant.tests)), "")


def _unnoticed(suite: Suite, roots: Sequence[Path], test: str, report: Path) -> str:
    """Why this test did not notice; '' if it did."""
    name = test.rpartition("/")[2]
    try:
        code = run_tests(suite, roots, [test], report, "-n0", "-x")
    except subprocess.TimeoutExpired:
        return f"{name} did not end"
    if code == 0:
        return f"{name} passed"
    found = list(failures(report, suite.evidence))
    if any(asserted for _, asserted in found):
        return ""
    return f"{name} failed, but by no such assertion: {found[0][0] if found else f'pytest ended with {code}'}"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="make mutants ARGS=…", description=__doc__)
    parser.add_argument("suite", help="the module whose SUITE it is")
    parser.add_argument("names", nargs="*", help="only these")
    arguments = parser.parse_args()
    suite: Suite = importlib.import_module(arguments.suite).SUITE
    if unknown := set(arguments.names) - {mutant.name for mutant in suite.mutants}:
        parser.error(f"there is no mutant named {', '.join(sorted(unknown))}")
    mutants = [mutant for mutant in suite.mutants if not arguments.names or mutant.name in arguments.names]
    with tempfile.TemporaryDirectory(prefix="voicebus-mutants-") as raw:
        unbroken = Path(raw) / "unbroken"
        tests = sorted({test for mutant in mutants for test in (*mutant.tests, *suite.calm)})
        if run_tests(suite, copy_sources(unbroken), tests, unbroken / "report.xml") != 0:
            print((unbroken / "report.log").read_text())
            sys.exit("mutants: the tests fail on the unbroken sources")
        print(f"unbroken: {len(tests)} tests and files pass", flush=True)
        survivors = 0
        for mutant in mutants:
            why = verdict(mutant, suite, Path(raw) / mutant.name)
            survivors += bool(why)
            print(f"{mutant.name:20} {'SURVIVED' if why else 'caught':9} {mutant.invariant}", flush=True)
            if why:
                print(f"{'':20} {why}", flush=True)
    print(f"{len(mutants)} mutants, {survivors} survived")
    sys.exit(1 if survivors else 0)


if __name__ == "__main__":
    main()
