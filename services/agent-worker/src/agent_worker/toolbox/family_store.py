"""Families and their members, by user, in one JSON file that several processes may share."""

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pydantic import BaseModel, Field

MAX_FAMILIES: Final = 100  # of a user
MAX_MEMBERS: Final = 100  # of a family


class Member(BaseModel):
    """Somebody in a family."""

    name: str
    role: str | None = None


class Family(BaseModel):
    """A family; its name is without the word "family"."""

    name: str
    members: list[Member] = []

    def find(self, name: str) -> Member | None:
        """The member with a name, in any case."""
        return next((member for member in self.members if member.name.casefold() == name.casefold()), None)


class Household(BaseModel):
    """All families of one user."""

    families: list[Family] = []

    def find(self, name: str) -> Family | None:
        """The family with a name, in any case, with or without the word "family"."""
        wanted = family_name(name).casefold()
        return next((family for family in self.families if family.name.casefold() == wanted), None)


class _Document(BaseModel):
    users: dict[str, Household] = Field(default_factory=dict)


class FamilyStore:
    """Reads and writes the file; a change is seen whole or not at all, also when the process is killed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, user: str) -> Household:
        """What a user has; changes to it are not kept."""
        return self._load().users.get(user, Household())

    @contextmanager
    def change(self, user: str) -> Iterator[Household]:
        """What a user has, to be changed: written when the block ends without an exception, while others wait."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            document = self._load()
            household = document.users.setdefault(user, Household())
            yield household
            self._save(document)

    def _load(self) -> _Document:
        try:
            return _Document.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return _Document()

    def _save(self, document: _Document) -> None:
        data = json.dumps(document.model_dump(exclude_none=True), ensure_ascii=False, indent=1)
        with tempfile.NamedTemporaryFile(
            "w", dir=self._path.parent, prefix=".families-", encoding="utf-8", delete=False
        ) as file:
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).replace(self._path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise


def family_name(said: str) -> str:
    """The name without "the" and "family", capitalised if it was said: "the smith family" is Smith."""
    words = said.split()
    if len(words) > 1 and words[0].casefold() == "the":
        words = words[1:]
    if len(words) > 1 and words[-1].casefold() == "family":
        words = words[:-1]
    return person_name(" ".join(words))


def person_name(said: str) -> str:
    """A name as one writes it: names in lower case come from a recogniser."""
    name = " ".join(said.split())
    return name.title().replace("'S", "'s") if name.islower() else name
