"""The dead letters: looked through and read by all readers, replayed and discarded by whoever may."""

import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import TypeAlias
from urllib.parse import urlencode

import structlog
from flask import Blueprint, abort, render_template, request
from msgspec import Struct

from worker.domain.deliveries import is_entry_id, spelled
from worker.domain.errors import Outage
from worker.domain.orders import DeadReason
from worker.domain.times import span_s, unix_ms_ago
from worker.ops.pages.access import Access
from worker.ops.pages.ports import Letters
from worker.status.letters import STATES, ClosingOutcome, Forecast, LetterInFull, Outcome, Wanted

log = structlog.get_logger(__name__)

LETTERS_A_PAGE = 50
MOST_AT_ONCE = 100
MOST_REASONS, LONGEST_REASON = 10, 64
NO_SUCH_LETTER = "There is no such dead letter."
NOT_SIGNED_IN = "Sign in with WORKER_ADMIN_TOKEN to replay and discard dead letters."
ANOTHER_OF_ITS_ORDER = "another letter of its order is chosen: replay this one by itself"

Answer: TypeAlias = str | tuple[str, HTTPStatus]


class Chosen(Struct, frozen=True):
    """A letter of a selection, and why nothing would be done about it, if so."""

    letter: LetterInFull
    why_not: str | None


class Deed(Struct, frozen=True):
    """What a person does about letters: in one word, what then was done, and how one is done."""

    verb: str
    done: str
    act: Callable[[str, str], ClosingOutcome]
    fresh: bool = False


def blueprint(letters: Letters, access: Access) -> Blueprint:
    """Return the pages of the dead letters; what changes something is there only where somebody may."""
    made = Blueprint("dead", __name__)

    @made.get("/dead")
    def listed() -> str:
        wanted, said = _wanted()
        behind = _letter_id(said["behind"]) if "behind" in said else None
        found = letters.page(wanted, behind=behind, count=LETTERS_A_PAGE)
        older = None if found.go_on_from is None else _link({**said, "behind": found.go_on_from})
        return render_template(
            "letters.html",
            found=found,
            said=said,
            states=STATES,
            reasons=list(dict.fromkeys([*DeadReason, *wanted.reasons])),
            older=older,
            may_change=access.who_may_change() is not None,
        )

    @made.get("/dead/<path:letter_id>")
    def one(letter_id: str) -> str:
        letter = letters.in_full(_letter_id(letter_id))
        if letter is None:
            abort(HTTPStatus.NOT_FOUND, NO_SUCH_LETTER)
        closable = letter.line.closed is None and letter.line.not_ours is None
        may_change = closable and access.who_may_change() is not None
        return render_template("letter.html", letter=letter, may_change=may_change)

    if access.admin_token is not None:
        _change(made, letters, access)
    return made


def _change(made: Blueprint, letters: Letters, access: Access) -> None:
    """Add what changes something: first it is asked, with a count to type, whether that is meant."""

    @made.post("/dead/replay")
    def replay() -> Answer:
        fresh = request.form.get("fresh") == "yes"
        deed = Deed("replay", "replayed", lambda each, by: letters.replay(each, by, fresh=fresh), fresh)
        return _asked_or_done(deed, letters, access)

    @made.post("/dead/discard")
    def discard() -> Answer:
        return _asked_or_done(Deed("discard", "discarded", letters.discard), letters, access)


def _asked_or_done(deed: Deed, letters: Letters, access: Access) -> Answer:
    name = access.who_may_change()
    if name is None:
        abort(HTTPStatus.FORBIDDEN, NOT_SIGNED_IN)
    letter_ids = list(dict.fromkeys(map(_letter_id, request.form.getlist("letter")[: MOST_AT_ONCE + 1])))
    if not 1 <= len(letter_ids) <= MOST_AT_ONCE:
        abort(HTTPStatus.BAD_REQUEST, f"Choose 1 to {MOST_AT_ONCE} dead letters.")
    typed = request.form.get("count")
    if typed is None:
        return _asked(deed, letters, letter_ids)
    if typed.strip() != str(len(letter_ids)):
        fault = f"You typed another number than {len(letter_ids)}: nothing was done."
        return _asked(deed, letters, letter_ids, fault), HTTPStatus.BAD_REQUEST
    return _done(deed, letter_ids, name)


def _asked(deed: Deed, letters: Letters, letter_ids: Sequence[str], fault: str | None = None) -> str:
    """Return the page that says what would be done, and asks for the number."""
    found = [letter for each in letter_ids if (letter := letters.in_full(each)) is not None]
    chosen = _chosen(deed, found)
    return render_template(
        "confirm.html",
        deed=deed,
        chosen=chosen,
        doable=[each.letter.line.letter_id for each in chosen if each.why_not is None],
        missing=len(letter_ids) - len(found),
        fault=fault,
    )


def _chosen(deed: Deed, found: Sequence[LetterInFull]) -> list[Chosen]:
    """Return letters, each with why nothing is done about it, if that is so."""
    chosen, orders = list[Chosen](), set[str]()
    for letter in found:
        why_not, order_id = _why_not(deed, letter), letter.line.notes.get("order_id")
        if why_not is None and deed.verb == "replay" and order_id:
            # What becomes of the second depends on what becomes of the first.
            why_not = ANOTHER_OF_ITS_ORDER if order_id in orders else None
            orders.add(order_id)
        chosen.append(Chosen(letter, why_not))
    return chosen


def _why_not(deed: Deed, letter: LetterInFull) -> str | None:
    if letter.line.not_ours is not None:
        return letter.line.not_ours
    if letter.line.closed is not None:
        return letter.line.closed.how
    preview = letter.preview
    refused = preview is not None and preview.forecast is Forecast.REFUSED
    return preview.why if deed.verb == "replay" and preview is not None and refused else None


def _done(deed: Deed, letter_ids: Sequence[str], name: str) -> Answer:
    """Do it, one letter after the other, and say what came of it; an outage leaves the rest undone."""
    by, outcomes, outage = f"{name} (page)", list[ClosingOutcome](), None
    try:
        for each in letter_ids:
            outcomes.append(deed.act(each, by))
    except Outage as cut_short:
        outage = cut_short
    finally:
        _noted(deed, letter_ids, outcomes, name, outage)
    done = [each.letter_id for each in outcomes if each.outcome is Outcome.DONE]
    page = render_template(
        "done.html", deed=deed, outcomes=outcomes, done=len(done), left=letter_ids[len(outcomes) :]
    )
    return page if outage is None else (page, HTTPStatus.SERVICE_UNAVAILABLE)


def _noted(
    deed: Deed,
    letter_ids: Sequence[str],
    outcomes: Sequence[ClosingOutcome],
    name: str,
    outage: Outage | None,
) -> None:
    """Log who did what: also where something unexpected ends it in the middle."""
    log.info(
        "dead letters closed on a page",
        deed=deed.verb,
        by=name,
        address=request.remote_addr,
        letters=[each.letter_id for each in outcomes if each.outcome is Outcome.DONE],
        not_done=[each.letter_id for each in outcomes if each.outcome is not Outcome.DONE],
        not_tried=letter_ids[len(outcomes) :],
        outage=None if outage is None else outage.reason,
    )


def _wanted() -> tuple[Wanted, dict[str, str | list[str]]]:
    """Return which letters a query asks for, and the query as it was understood."""
    asked = request.args
    state = asked.get("state") or "open"
    if state not in STATES:
        abort(HTTPStatus.BAD_REQUEST, f"A state is one of {', '.join(STATES)}.")
    reasons = [each for each in asked.getlist("reason") if each]
    if len(reasons) > MOST_REASONS or any(len(each) > LONGEST_REASON for each in reasons):
        abort(HTTPStatus.BAD_REQUEST, f"At most {MOST_REASONS} reasons of {LONGEST_REASON} characters.")
    since = asked.get("since", "").strip()
    seconds = span_s(since) if since else None
    if since and seconds is None:
        abort(HTTPStatus.BAD_REQUEST, "A time span is 90 (seconds), 10m, 2h or 1d.")
    said: dict[str, str | list[str]] = {"state": state, "reason": reasons, "since": since}
    if asked.get("behind"):
        said["behind"] = asked["behind"]
    return Wanted(state, reasons, unix_ms_ago(seconds, time.time())), said


def _link(said: dict[str, str | list[str]]) -> str:
    return "/dead?" + urlencode({name: value for name, value in said.items() if value}, doseq=True)


def _letter_id(given: object) -> str:
    """Return the id of a letter in its one spelling; what is none is not there."""
    text = str(given)
    if not is_entry_id(text):
        abort(HTTPStatus.NOT_FOUND, NO_SUCH_LETTER)
    return spelled(text)
