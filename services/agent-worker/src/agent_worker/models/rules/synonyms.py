"""Words that may stand for each other, hint at each other, or mean the opposite; all of them as stems.

There are few: a synonym that fits one server misleads at another.
"""

from collections.abc import Iterator
from typing import Final

from agent_worker.models.rules.tables import rows
from agent_worker.models.rules.words import stem

_SYNONYMS: Final = """
    create add make new insert register open
    create schedule set place put
    add plus sum total
    subtract minus difference deduct
    multiply times product
    times time
    divide over quotient
    delete remove erase drop discard
    list show display enumerate
    get show fetch retrieve read check view tell
    find search lookup query locate seek
    send deliver dispatch submit
    send transfer wire
    schedule book arrange plan
    book reserve reservation booking
    meeting appointment event
    update change edit modify adjust alter
    set put change adjust
    begin start launch run
    stop end halt finish terminate
    close resolve finish complete
    open raise
    close lower
    bug issue ticket defect problem
    buy purchase order
    price cost charge worth
    weather forecast
    temperature hot cold warm heat degree
    light lamp
    lamp bulb
    tv television
    telephone phone
    call phone ring dial
    photo picture image
    movie film
    song track music tune
    task todo chore
    note memo
    remind reminder remember
    customer client
    employee staff worker
    folder directory
    document file
    message text
    mail email
    pause hold suspend
    resume continue
    cancel abort revoke
    ship shipment shipping deliver delivery parcel package
    basket cart
    comment reply
    assign give
    increase raise
    decrease lower reduce
    describe explain detail
    percent percentage
    power exponent
    holiday vacation
    clock time
    blind shutter curtain
    volume loud
    calculate compute
    people person member
    date day
    rename retitle
    member belong
    story tale
    fact trivia
    say speak utter
    big large
    weigh weight
    tall height high
    translate translation
    postpone reschedule move
    owner assignee responsible
    hour opening
"""
_HINTS: Final = """
    where: place location address city find room
    when: time date day schedule hour start
    who: person member people user owner assignee contact
    much: price cost total amount balance
    many: count number total quantity amount
    long: duration minute length
    far: distance
    old: age birthday
"""
_OPPOSITES: Final = """
    on off; open close; lock unlock; start stop; play pause; play stop; enable disable; activate deactivate; add remove;
    add delete; create delete; create remove; increase decrease; raise lower; up down; mute unmute; arm disarm;
    show hide; in out; buy sell; subscribe unsubscribe; install uninstall; follow unfollow; connect disconnect;
    assign unassign; archive restore; pin unpin; block unblock; first last; load unload; open lock; income expense;
    begin end; push pull; encrypt decrypt; add subtract; multiply divide; like dislike; login logout; accept decline;
    approve reject; checkin checkout; send receive; minimum maximum; before after; win lose; publish unpublish
"""


def _groups(text: str) -> dict[str, frozenset[str]]:
    related: dict[str, set[str]] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        stems = [stem(word) for word in line.split()]
        for word in stems:
            related.setdefault(word, set()).update(stems)
    return {word: frozenset(others - {word}) for word, others in related.items()}


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for pair in text.replace("\n", " ").strip().split(";"):
        left, right = map(stem, pair.split())
        yield left, right
        yield right, left


SYNONYMS: Final = _groups(_SYNONYMS)
HINTS: Final = {word: frozenset(map(stem, targets)) for word, targets in rows(_HINTS).items()}
OPPOSITES: Final = frozenset(_pairs(_OPPOSITES))
