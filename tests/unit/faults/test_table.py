"""The tables of docs/reliability.md say what the results say."""

from dataclasses import replace
from pathlib import Path

import pytest
from faults.results import Result, keep, load
from faults.scenario import Outcome
from faults.table import BEGIN, END, merged, rows, tables, with_tables
from faults.tally import Tally

DOCUMENT = Path(__file__).parents[3] / "docs" / "reliability.md"
NONE = Tally()


def result(scenario: str, tally: Tally = NONE, *, line: int = 1, recovery_s: float | None = 1.0, **more: str) -> Result:
    fields = {"load": "10 clients", "faults": "2 kills", "redis": "one Redis"} | more
    place = (fields.pop("path", "tests/faults/test_a.py"), line)
    outcome = Outcome(scenario=scenario, tally=tally, recovery_s=recovery_s, seed=7, **fields)
    return Result(outcome, place, "2026-01-02", "Redis 6.2, 2 cores")


def test_scenarios_stand_in_the_order_of_their_tests() -> None:
    found = rows(
        [
            result("third", path="tests/faults/test_b.py", line=1),
            result("second", line=20),
            result("first", line=3),
            result("first", line=9, path="tests/faults/test_peer_z.py", system="Socket.IO 4"),
        ]
    )
    assert [row.scenario for row in found] == ["first", "second", "third"]


def test_a_peer_stands_beside_us_and_the_other_way_round_nothing_is_made_up() -> None:
    both = [result("kill", recovery_s=0.5), result("kill", Tally(1234, 5, 6), recovery_s=9, system="Socket.IO 4")]
    alone = [result("tool", recovery_s=None), result("echo", Tally(1), system="Socket.IO 4")]
    lines = tables(both + alone).splitlines()
    assert "| kill | 10 clients | 2 kills | 0 | 0 | 0 | 0.50 s | 1,234 | 5 | 6 | 9.00 s |" in lines
    assert "| tool | 10 clients | 2 kills | 0 | 0 | 0 | - | - | - | - | - |" in lines
    assert "| echo | 10 clients | 2 kills | - | - | - | - | 1 | 0 | 0 | 1.00 s |" in lines
    head = next(line for line in lines if line.startswith("| scenario"))
    assert head.endswith("| worst recovery | Socket.IO 4: lost | Socket.IO 4: repeated | "
                         "Socket.IO 4: misplaced | Socket.IO 4: worst recovery |")  # fmt: skip


def test_several_runs_of_the_same_are_added_up() -> None:
    first, second = result("kill", Tally(1, 2, 3)), result("kill", Tally(10, 20, 30), recovery_s=4, faults="3 kills")
    (row,) = rows([first, second])
    assert row.cells("Voicebus") == ["11", "22", "33", "4.00 s"]
    assert row.faults == "2 to 3 kills"


@pytest.mark.parametrize(
    ("texts", "one"),
    [
        (["9 cuts, 1.5 s", "10 cuts, 1.5 s", "8 cuts, 1.5 s"], "8 to 10 cuts, 1.5 s"),
        (["1,200 lost", "900 lost"], "900 to 1,200 lost"),
        (["2 kills", "2 kills"], "2 kills"),
        (["2 kills", "2 stops"], "2 kills; 2 stops"),
        (["", "none"], "none"),
        ([], ""),
    ],
)
def test_what_differs_between_runs_by_numbers_only_is_told_once(texts: list[str], one: str) -> None:
    assert merged(texts) == one


def test_another_load_and_another_kind_of_redis_are_rows_of_their_own() -> None:
    found = [result("kill"), result("kill", load="1,000 clients"), result("kill", redis="cluster")]
    made = tables(found)
    assert len(rows(found)) == 3
    assert (
        made.index("### On one Redis") < made.index("1,000 clients") < made.index("### On a cluster of three primaries")
    )


def test_a_peer_at_another_load_stands_beside_us_if_there_is_no_doubt_where() -> None:
    ours, theirs = result("kill"), result("kill", Tally(1), load="9 clients", system="Socket.IO 4")
    (row,) = rows([theirs, ours])
    assert (row.load, list(row.systems)) == ("10 clients", ["Voicebus", "Socket.IO 4"])
    assert len(rows([ours, result("kill", load="1,000 clients"), theirs])) == 3
    assert len(rows([theirs, result("kill", load="8 clients", system="Socket.IO 4")])) == 2


def test_seeds_days_and_versions_are_told() -> None:
    made = tables([result("kill"), result("kill", system="Socket.IO 4", software="socket.io 4.8", remarks="half came")])
    assert "| 2026-01-02 | 7 | Voicebus | Redis 6.2, 2 cores |" in made
    assert "| 2026-01-02 | 7 | socket.io 4.8 | Redis 6.2, 2 cores |" in made
    assert "| kill | 10 clients | one Redis | Socket.IO 4 | half came |" in made


def test_what_a_run_keeps_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAULTS_RESULTS", str(tmp_path / "results"))
    outcomes = [result("kill", Tally(1, 2, 3)).outcome, result("cut", recovery_s=None).outcome]
    for outcome in outcomes:
        keep(outcome, ("tests/faults/test_a.py", 3))
    kept = load(tmp_path / "results")
    assert [replace(each.outcome, software="") for each in kept] == outcomes
    assert kept[0].place == ("tests/faults/test_a.py", 3)
    assert "Python 3" in kept[0].outcome.software
    assert "cores" in kept[0].circumstances


def test_only_what_stands_between_the_marks_is_written() -> None:
    text = f"before\n{BEGIN}old\n{END}\nafter\n"
    written = with_tables(text, [result("kill")])
    assert written.startswith(f"before\n{BEGIN}")
    assert written.endswith(f"{END}\nafter\n")
    assert "old" not in written
    assert with_tables(written, [result("kill")]) == written


def test_the_document_has_a_place_for_them() -> None:
    assert "kill" in with_tables(DOCUMENT.read_text(), [result("kill")])
