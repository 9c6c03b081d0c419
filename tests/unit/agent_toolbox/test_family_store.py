import subprocess
import sys
from pathlib import Path

import pytest

from agent_worker.toolbox.family_store import Family, FamilyStore, Member, family_name, person_name

WRITERS, EACH = 4, 15


WRITE_MANY = """
import sys
from pathlib import Path
from agent_worker.toolbox.family_store import Family, FamilyStore
store = FamilyStore(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    with store.change("ada") as household:
        household.families.append(Family(name=f"{sys.argv[2]}-{number}"))
"""


def test_what_several_processes_change_at_once_is_all_there(tmp_path: Path) -> None:
    path = tmp_path / "families.json"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITE_MANY, str(path), str(writer), str(EACH)])
        for writer in range(WRITERS)
    ]
    assert [process.wait(60) for process in writers] == [0] * WRITERS
    names = {family.name for family in FamilyStore(path).read("ada").families}
    assert names == {f"{writer}-{number}" for writer in range(WRITERS) for number in range(EACH)}


def test_a_change_that_fails_leaves_everything_as_it_was(tmp_path: Path) -> None:
    store = FamilyStore(tmp_path / "state" / "families.json")
    with store.change("ada") as household:
        household.families.append(Family(name="Smith", members=[Member(name="Anna", role="mother")]))

    def clear_and_fail() -> None:
        with store.change("ada") as household:
            household.families.clear()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        clear_and_fail()
    assert [family.name for family in store.read("ada").families] == ["Smith"]
    assert {path.name for path in (tmp_path / "state").iterdir()} == {"families.json", "families.lock"}


def test_users_see_their_own_families_only(tmp_path: Path) -> None:
    store = FamilyStore(tmp_path / "families.json")
    with store.change("ada") as household:
        household.families.append(Family(name="Smith"))
    assert store.read("bob").families == []


def test_names_are_written_as_one_writes_them() -> None:
    assert [family_name(said) for said in ("the smith family", "Smith", "van der Berg", "family", "o'neill")] == [
        "Smith",
        "Smith",
        "van der Berg",
        "Family",
        "O'Neill",
    ]
    assert person_name("  mary  ann ") == "Mary Ann"


def test_families_and_members_are_found_however_they_are_said() -> None:
    family = Family(name="Smith", members=[Member(name="Anna")])
    assert family.find("ANNA") is family.members[0]
    assert family.find("Bob") is None
