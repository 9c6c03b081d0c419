"""What verbs ask for, and words that say little about what is meant."""

from collections.abc import Mapping
from typing import Final, Literal

from agent_worker.models.rules.tables import word_set
from agent_worker.models.rules.words import stem

Deed = Literal["", "read", "create", "delete", "change", "act"]

_READ: Final = (
    "get fetch show list find search look lookup query read view check tell display describe retrieve see explain"
)
_CREATE: Final = "create make new insert register post file submit"
_DELETE: Final = "delete remove erase drop cancel discard clear"
_CHANGE: Final = (
    "update change edit modify set rename move turn switch toggle adjust increase decrease raise lower open close lock "
    "unlock start stop enable disable"
)
_DEEDS: Final[Mapping[str, Deed]] = {
    **dict.fromkeys(map(stem, word_set(_CHANGE)), "change"),
    **dict.fromkeys(map(stem, word_set(_DELETE)), "delete"),
    **dict.fromkeys(map(stem, word_set(_CREATE)), "create"),
    **dict.fromkeys(map(stem, word_set(_READ)), "read"),
}
_EITHER: Final = word_set(  # a question may ask for these as well as an order
    """
    calculate call compute convert count divide execute generate give have make measure multiply power raise report run
    solve subtract sum summarize translate validate verify
    """
)
VERBS: Final = _EITHER | word_set(
    """
    add assign apply book cancel change check close create decline delete describe dim do download draw edit enable
    explain export fetch find follow get import insert invite list lock log look manage move open order pay pause plan
    play post print put query rate read record release remind remove rename rent reopen reschedule reserve return save
    schedule search send set share show start stop store submit subscribe tell track transfer turn unlock update upload
    watch work write
    """
)
_WEAK: Final = {
    **dict.fromkeys(
        map(
            stem,
            word_set(
                """
                all available data detail id info information item list look lookup my name new number of read check see
                set show value view what which who where when much many
                """
            ),
        ),
        0.35,
    ),
    **dict.fromkeys(
        map(
            stem,
            word_set("a an call currently current do execute fetch get give is it make perform retrieve run tell the"),
        ),
        0.15,
    ),
    **dict.fromkeys(map(stem, word_set("tool use")), 0.15),
}


def deed_of(word: str) -> Deed:
    """What kind of deed a verb asks for; "act" for one of its own, such as play."""
    return _DEEDS.get(stem(word)) or ("act" if word in VERBS - _EITHER else "")


def weakness(word_stem: str) -> float:
    """How much less than others a word says about what is meant: 1 for most, near 0 for "get"."""
    return _WEAK.get(word_stem, 1.0)
