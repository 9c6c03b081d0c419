"""The layout: what stands where, and what may never be in a commit."""

import re
import subprocess
from pathlib import Path

from voicebus.bus.scripts import SCRIPTS

ROOT = Path(__file__).parents[2]
SCRIPT_FOLDER = ROOT / "shared/src/voicebus/bus/lua"
# Addresses of package indexes have no business in a repository that others install from.
FORBIDDEN = re.compile(r"--(extra-)?index-url|--find-links|\"resolved\": \"http|files\.pythonhosted")


def tracked() -> list[Path]:
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in names.splitlines()]


def test_the_parts_that_users_rely_on_are_there() -> None:
    services = ("gateway", "stt-worker", "agent-worker", "tts-worker")
    for name in (
        "docker-compose.yml",
        "Makefile",
        "shared",
        "tests",
        *(f"services/{s}/requirements.txt" for s in services),
    ):
        assert (ROOT / name).exists(), name


def test_requirements_are_pinned_with_hashes() -> None:
    for file in (ROOT / "requirements-dev.txt", *ROOT.glob("services/*/requirements.txt")):
        pins = re.findall(r"^[a-z0-9][^\s;]*==\S+", file.read_text(), re.MULTILINE | re.IGNORECASE)
        assert len(pins) > 5
        assert file.read_text().count("--hash=sha256:") >= len(pins)


def test_no_index_addresses_are_committed() -> None:
    for file in tracked():
        if file == Path(__file__) or file.suffix in {".wav", ".png"} or not file.exists():
            continue
        assert not FORBIDDEN.search(file.read_text()), file


def test_every_script_names_its_keys_and_replies() -> None:
    for name in SCRIPTS:
        own = (SCRIPT_FOLDER / f"{name}.lua").read_text()
        assert re.search(r"-- KEYS: (1 |of each)", own), name
        assert "-- ARGV: " in own, name
        assert re.search(r"-- Replies: (of each.* )?\{", own), name


def test_files_fit_the_eye() -> None:
    for file in tracked():
        if file.suffix in {".py", ".lua"} and file.exists():
            assert len(file.read_text().splitlines()) <= 600, file
