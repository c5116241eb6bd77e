"""Whether anything needs a person, and what to do about it: facts in, conditions out, the worst first."""

import math
from collections.abc import Iterator, Mapping

from msgspec import Struct

from worker.status.wording import by_number, counted, span

LOOK_AGAIN = "worker status --watch"
# A replica that is idle takes what comes at once; Redis before 7.2 may not have heard of it for long.
AT_ONCE_S = 5
_KEEPING = {
    "Redis": "set appendonly yes, appendfsync everysec and no-appendfsync-on-rewrite no, or WORKER_ALLOW_VOLATILE=1 if that is meant",
    "PostgreSQL": "set fsync and synchronous_commit on, for our role and database, too, and tables LOGGED, or WORKER_ALLOW_VOLATILE=1 if that is meant",
}


class Away(Struct, frozen=True):
    """A server that can't be used: it does not answer, or `answers` and can't do what it is asked, or refuses us.

    Or it is `misconfigured`: its URL is wrong.
    """

    server: str
    reason: str
    answers: bool = False
    refused: bool = False
    misconfigured: bool = False


class Facts(Struct, frozen=True, kw_only=True):
    """What is judged. Where a server is away, its facts are as if all were well."""

    away: tuple[Away, ...] = ()
    schema: str = "current"
    # What is in the way of the tables, and the SQL that leads round it.
    obstacle: str = ""
    remedy: str | None = None
    group: str = "execution"
    group_exists: bool = True
    entries: int = 0
    waiting: int = 0
    waiting_exact: bool = True
    oldest_waiting_age_s: float | None = None
    pending: int = 0
    stuck: int = 0
    longest_untouched_s: float | None = None
    several_leases_s: float = 90
    alive: int = 0
    lost_unread: int = 0
    unknown_results: int = 0
    set_aside: int = 0
    a_set_aside: str | None = None
    lost_rows: int = 0
    streams_of_source: int = 1
    # What others have made that may store rows otherwise than they are written, or not at all.
    may_change_rows: tuple[str, ...] = ()
    open_letters: Mapping[str, int] = {}
    all_letters: bool = True
    submitted: int = 0
    oldest_submitted_age_s: float | None = None
    a_submitted: str | None = None
    oldest_pending_age_s: float | None = None
    last_recorded_age_s: float | None = None
    repairs: int = 0
    # The policy by which Redis may evict orders, where nobody has allowed that.
    eviction: str = ""
    # By server: the settings by which it may lose what it has acknowledged, where nobody has taken that as meant.
    volatile: Mapping[str, str] = {}


class Condition(Struct, frozen=True):
    """One thing that holds: `name` for programs, `text` for people, what to run next where there is something."""

    name: str
    text: str
    command: str | None = None
    needs_person: bool = True

    @property
    def sentence(self) -> str:
        """Text and command in one line."""
        return f"{self.text}: {self.command}" if self.command else f"{self.text.rstrip('.')}."


def judge(facts: Facts) -> list[Condition]:
    """Return every condition that holds, the worst first; at least one."""
    return [*_servers(facts), *_nobody_gets_on(facts), *_people(facts), *_by_itself(facts)] or [_well(facts)]


def _servers(facts: Facts) -> Iterator[Condition]:
    for each in sorted(facts.away, key=lambda away: away.refused or away.misconfigured):
        if each.misconfigured:
            name, what = "misconfigured", "can't be used as it is named"
        elif each.refused:
            name, what = "refused", "refuses access"
        else:
            name, what = "unreachable", "answers, but not as it should" if each.answers else "does not answer"
        yield Condition(name, f"{each.server} {what}: {each.reason}")
    if facts.schema == "behind":
        yield Condition("schema_behind", "The database schema is behind this version", "worker migrate")
    if facts.schema == "obstructed":
        yield Condition(
            "schema_obstructed", f"The database can't be migrated: {facts.obstacle}", facts.remedy
        )
    if facts.eviction:
        text = f"Redis may evict orders that nobody has executed (maxmemory-policy {facts.eviction}); set maxmemory-policy noeviction"
        yield Condition("eviction", text)


def _nobody_gets_on(facts: Facts) -> Iterator[Condition]:
    if not facts.group_exists and facts.entries:
        there = f"{counted(facts.entries, 'entry', 'entries')} on the orders stream"
        text = f"Group {facts.group} is missing, nobody reads {there}; a replica makes it anew"
        yield Condition("group_missing", text, "worker run")
    elif _nobody_works(facts):
        yield Condition("nobody_works", f"{_work(facts)} and nobody works, no replica is alive", "worker run")
    elif _rows_are_not_stored(facts):
        by = ", ".join(facts.may_change_rows)
        text = f"{_work(facts)}, none is recorded, and {by} may change or swallow rows: what is stored otherwise is not published"
        yield Condition("rows_not_stored", f"{text}; see which in the logs of the replicas and /ready")
    elif (standstill := _standstill_s(facts)) is not None:
        since = "ever" if standstill == math.inf else f"for {span(standstill)}"
        text = f"{_work(facts)}, {_replicas(facts)}, and no order was recorded {since}; see why in their logs and /ready"
        yield Condition("standstill", text)


def _people(facts: Facts) -> Iterator[Condition]:
    if facts.lost_rows:
        orders = counted(facts.lost_rows, "order")
        text = f"PostgreSQL lost rows: results of {orders} went out, and their rows are gone"
        yield Condition("lost_rows", text, "worker audit --repair")
    if facts.lost_unread:
        were = "was" if facts.lost_unread == 1 else "were"
        lost = (
            f"{counted(facts.lost_unread, 'order')} {were} trimmed before anybody had read them, and are lost"
        )
        yield Condition("lost_unread", f"{lost}; ask the producers what they sent")
    if facts.unknown_results:
        text = f"Nobody can know whether {counted(facts.unknown_results, 'result')} went out: trimmed or deleted, and their marks lost"
        yield Condition("unknown_results", text, "worker audit --repair --republish")
    if facts.streams_of_source > 1:
        text = f"{facts.streams_of_source} orders streams are worked on under one source: give each fleet a WORKER_SOURCE of its own"
        yield Condition("shared_source", text)
    yield from _kept_pending(facts)
    if facts.open_letters:
        least = "" if facts.all_letters else "at least "
        count = f"{least}{counted(sum(facts.open_letters.values()), 'open dead letter')}"
        yield Condition("dead_letters", f"{count} ({by_number(facts.open_letters)})", "worker dead list")
    age_s = facts.oldest_submitted_age_s or 0
    if facts.submitted and age_s > facts.several_leases_s:
        orders = f"{counted(facts.submitted, 'order')} handed to the venue without an answer"
        yield Condition("submitted", f"{orders}, for {span(age_s)}", f"worker show {facts.a_submitted}")
    for server, settings in facts.volatile.items():
        yield Condition(
            "volatile", f"{server} may lose what it has acknowledged ({settings}); {_KEEPING[server]}"
        )


def _kept_pending(facts: Facts) -> Iterator[Condition]:
    if facts.set_aside:
        orders = f"{counted(facts.set_aside, 'order')} can be neither settled nor buried; see why in the logs"
        yield Condition("set_aside", orders, f"worker show {facts.a_set_aside}")
    if facts.stuck:
        untouched = f"for {span(facts.longest_untouched_s or 0)}, the longest"
        stuck = (
            f"{counted(facts.stuck, 'pending order')} untouched for more than {span(facts.several_leases_s)}"
        )
        yield Condition("stuck", f"{stuck} ({untouched})", "worker pending")


def _by_itself(facts: Facts) -> Iterator[Condition]:
    if facts.repairs:
        text = "A repair is running" if facts.repairs == 1 else f"{facts.repairs} repairs are running"
        yield Condition("repair_running", text, LOOK_AGAIN, needs_person=False)
    if (
        facts.waiting
        and not (_nobody_works(facts) or _rows_are_not_stored(facts))
        and _standstill_s(facts) is None
    ):
        text = f"Backlog, being worked off: {_work(facts)}, {_replicas(facts)}"
        yield Condition("backlog", text, LOOK_AGAIN, needs_person=False)


def _well(facts: Facts) -> Condition:
    pending = f", {facts.pending:,} pending" if facts.pending else ""
    return Condition("well", f"All well: nothing is waiting{pending}, {_replicas(facts)}", needs_person=False)


def _nobody_works(facts: Facts) -> bool:
    if facts.alive:
        return False
    age_s = facts.oldest_waiting_age_s
    return bool(facts.pending or (facts.waiting and (age_s is None or age_s > AT_ONCE_S)))


def _standstill_s(facts: Facts) -> float | None:
    """Return for how long replicas that are alive have recorded nothing while orders wait, None where they get on."""
    waited_s = max(facts.oldest_waiting_age_s or 0, facts.oldest_pending_age_s or 0)
    still_s = math.inf if facts.last_recorded_age_s is None else facts.last_recorded_age_s
    too_long = min(waited_s, still_s) > facts.several_leases_s
    return still_s if facts.alive and too_long and _could_record(facts) else None


def _rows_are_not_stored(facts: Facts) -> bool:
    """Whether others may be the reason that replicas which are alive have recorded nothing for some seconds."""
    still_s = math.inf if facts.last_recorded_age_s is None else facts.last_recorded_age_s
    pending_s = (facts.oldest_pending_age_s or 0) if facts.pending else 0
    nothing = bool(facts.alive) and min(pending_s, still_s) > AT_ONCE_S
    return nothing and bool(facts.may_change_rows) and _could_record(facts)


def _could_record(facts: Facts) -> bool:
    return not facts.away and facts.schema not in {"behind", "obstructed"}


def _replicas(facts: Facts) -> str:
    return f"{counted(facts.alive, 'replica')} alive" if facts.alive else "no replica was heard of lately"


def _work(facts: Facts) -> str:
    if not facts.waiting:
        return f"{counted(facts.pending, 'order')} {'is' if facts.pending == 1 else 'are'} pending"
    least = "" if facts.waiting_exact else "at least "
    age = (
        "" if facts.oldest_waiting_age_s is None else f" (the oldest for {span(facts.oldest_waiting_age_s)})"
    )
    return f"{least}{counted(facts.waiting, 'order')} {'waits' if facts.waiting == 1 else 'wait'}{age}"
