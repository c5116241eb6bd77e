"""Whether anything needs a person, and what to do about it: a snapshot in, a verdict out, the worst first."""

import math
from collections.abc import Iterator

from msgspec import Struct

from worker.domain.database_state import Outcomes, SchemaStanding, SchemaState, TablesState
from worker.domain.deliveries import is_entry_id
from worker.domain.texts import escaped
from worker.status.progress import Progress
from worker.status.snapshot import Away, RedisSnapshot, Rules, Snapshot
from worker.status.wording import by_number, counted, span

LOOK_AGAIN = "worker status --watch"
_REDIS_KEEPS = "set appendonly yes, appendfsync everysec and no-appendfsync-on-rewrite no"
_LEAD_THERE = {"Redis": "REDIS_URL", "PostgreSQL": "DATABASE_URL"}
# By the code that Redis refuses a write with.
_TAKES_WRITES = {
    "NOREPLICAS": "start its replicas, or lower min-replicas-to-write",
    "READONLY": "it is a replica: have REDIS_URL lead to the primary",
    "MISCONF": "its disk takes nothing: see its log",
    "OOM": "give it memory (maxmemory), or room",
}
_SHOWS_ALL = "give our role policies that let it have all rows (USING (true)), or BYPASSRLS, and tables"
_POSTGRESQL_KEEPS = "set fsync and synchronous_commit on, for our role and database, too, and tables LOGGED"


class Condition(Struct, frozen=True):
    """One thing that holds: `name` for programs, `text` for people, and what to run next, if anything."""

    name: str
    text: str
    command: str | None = None
    needs_person: bool = True

    @property
    def sentence(self) -> str:
        """Text and command in one line."""
        return f"{self.text}: {self.command}" if self.command else f"{self.text.rstrip('.')}."


class Verdict(Struct, frozen=True):
    """Every condition that holds, the worst first; at least one."""

    conditions: tuple[Condition, ...]

    @property
    def worst(self) -> Condition:
        """What is to be seen to first."""
        return self.conditions[0]

    @property
    def sentence(self) -> str:
        """The one sentence that a person reads first; nothing in it moves a terminal."""
        said = self.worst.sentence
        return escaped(f"Needs you: {said}" if self.worst.needs_person else said)


def judge(snapshot: Snapshot) -> Verdict:
    """Return what holds. Of a server that can't be used nothing else is said."""
    streams = snapshot.streams
    if streams is None:
        return Verdict((*_servers(snapshot), *_people(snapshot)))
    progress = Progress(streams, snapshot.tables, snapshot.rules)
    found = (
        *_servers(snapshot),
        *_nobody_gets_on(progress),
        *_people(snapshot),
        *_by_itself(progress),
    )
    return Verdict(found or (_well(progress),))


def _servers(snapshot: Snapshot) -> Iterator[Condition]:
    both = (("Redis", snapshot.redis), ("PostgreSQL", snapshot.database))
    away = [(label, found) for label, found in both if isinstance(found, Away)]
    for label, found in sorted(away, key=lambda each: each[1].refused or each[1].misconfigured):
        yield _away(label, found)
    if snapshot.tables is not None:
        yield from _schema(snapshot.tables.state.schema)
        yield from _hidden(snapshot.tables.state.tables)
    streams = snapshot.streams
    if streams is not None and (said := streams.survey.refuses_writes):
        code = said.partition(" ")[0]
        text = f"Redis takes no writes, so no order gets on: {said.rstrip('.')}"
        yield Condition("writes_refused", f"{text}; {_TAKES_WRITES.get(code, 'see its log')}")
    if streams is not None and streams.state.eviction and not snapshot.rules.allow_eviction:
        may = f"Redis may evict orders that nobody has executed (maxmemory-policy {streams.state.eviction})"
        yield Condition("eviction", f"{may}; set maxmemory-policy noeviction")


def _away(label: str, away: Away) -> Condition:
    if away.misconfigured:
        return Condition("misconfigured", f"{label} can't be used as it is named: {away.error}")
    if away.refused:
        return Condition("refused", f"{label} refuses access: {away.error}")
    what = "answers, but not as it should" if away.answers else "does not answer"
    to_do = f"mend it, or have {_LEAD_THERE[label]} lead elsewhere"
    return Condition("unreachable", f"{label} {what}: {away.error.rstrip('.')}; {to_do}", LOOK_AGAIN)


def _schema(schema: SchemaStanding) -> Iterator[Condition]:
    if schema.state is SchemaState.BEHIND:
        yield Condition("schema_behind", "The database schema is behind this version", "worker migrate")
    if schema.obstacle is not None:
        text = f"The database can't be migrated: {schema.obstacle.what}"
        yield Condition("schema_obstructed", text, schema.obstacle.remedy)


def _hidden(tables: TablesState | None) -> Iterator[Condition]:
    if tables is not None and tables.may_hide_rows:
        by = ", ".join(tables.may_hide_rows)
        text = f"Rows may be hidden from us by {by}, and what is said of them here may be wrong"
        yield Condition("rows_hidden", f"{text}; {_SHOWS_ALL}")


def _nobody_gets_on(progress: Progress) -> Iterator[Condition]:
    state = progress.redis.state
    if not state.group_exists and state.orders:
        there = f"{counted(state.orders, 'entry', 'entries')} on the orders stream"
        text = f"Group {progress.rules.group} is missing, nobody reads {there}; a replica makes it anew"
        yield Condition("group_missing", text, "worker run")
    elif progress.nobody_works:
        text = f"{progress.work} and nobody works, no replica is alive"
        yield Condition("nobody_works", text, "worker run")
    elif progress.suspects:
        by = ", ".join(progress.suspects)
        may = f"{by} may change or swallow rows: what is stored otherwise is not published"
        text = (
            f"{progress.work}, none is recorded, and {may}; see which in the logs of the replicas and /ready"
        )
        yield Condition("rows_not_stored", text)
    elif (still_s := progress.standstill_s) is not None:
        since = "ever" if still_s == math.inf else f"for {span(still_s)}"
        nothing = f"{progress.replicas}, and no order was recorded {since}"
        yield Condition("standstill", f"{progress.work}, {nothing}; see why in their logs and /ready")


def _people(snapshot: Snapshot) -> Iterator[Condition]:
    streams, tables, rules = snapshot.streams, snapshot.tables, snapshot.rules
    if streams is not None:
        yield from _lost(streams)
    if tables is not None and tables.streams_of_source > 1:
        text = f"{tables.streams_of_source} orders streams are worked on under one source"
        yield Condition("shared_source", f"{text}: give each fleet a WORKER_SOURCE of its own")
    if streams is not None:
        yield from _kept_pending(streams, rules)
        yield from _dead_letters(streams)
    if tables is not None and tables.outcomes is not None:
        yield from _submitted(tables.outcomes, rules)
    if not rules.allow_volatile:
        yield from _volatile(snapshot)


def _lost(streams: RedisSnapshot) -> Iterator[Condition]:
    if lost := streams.state.lost_rows:
        text = f"PostgreSQL lost rows: results of {counted(lost, 'order')} went out, and their rows are gone"
        yield Condition("lost_rows", text, "worker audit --repair")
    if unread := (streams.state.lost_unread or 0) + streams.survey.lost_unnoticed:
        were = f"{counted(unread, 'order')} {'was' if unread == 1 else 'were'} trimmed"
        text = f"{were} before anybody had read them, and are lost; ask the producers what they sent"
        yield Condition("lost_unread", text)
    if unknown := streams.survey.unknown_results:
        whether = f"Nobody can know whether {counted(unknown, 'result')} went out"
        text = f"{whether}: trimmed or deleted, and their marks lost"
        yield Condition("unknown_results", text, "worker audit --repair --republish")


def _kept_pending(streams: RedisSnapshot, rules: Rules) -> Iterator[Condition]:
    if set_aside := streams.state.set_aside:
        text = f"{counted(set_aside, 'order')} can be neither settled nor buried; see why in the logs"
        # Whoever may write to Redis may have written anything there, and people copy commands.
        one = streams.state.a_set_aside or ""
        yield Condition("set_aside", text, f"worker show {one}" if is_entry_id(one) else "worker pending")
    oldest = streams.survey.oldest
    if oldest.stuck:
        stuck = (
            f"{counted(oldest.stuck, 'pending order')} untouched for more than {span(rules.stuck_after_s)}"
        )
        text = f"{stuck} (for {span(oldest.longest_untouched_s or 0)}, the longest)"
        yield Condition("stuck", text, "worker pending")


def _dead_letters(streams: RedisSnapshot) -> Iterator[Condition]:
    if found := streams.letters.open:
        least = "" if streams.letters.all else "at least "
        count = f"{least}{counted(sum(found.values()), 'open dead letter')}"
        yield Condition("dead_letters", f"{count} ({by_number(found)})", "worker dead list")


def _submitted(outcomes: Outcomes, rules: Rules) -> Iterator[Condition]:
    age_s = outcomes.oldest_submitted_age_s or 0
    if outcomes.submitted and age_s > rules.stuck_after_s:
        orders = f"{counted(outcomes.submitted, 'order')} handed to the venue without an answer"
        yield Condition("submitted", f"{orders}, for {span(age_s)}", f"worker show {outcomes.a_submitted}")


def _volatile(snapshot: Snapshot) -> Iterator[Condition]:
    streams = snapshot.streams
    tables = None if snapshot.tables is None else snapshot.tables.state.tables
    for label, setting, keeps in (
        ("Redis", None if streams is None else streams.state.volatile, _REDIS_KEEPS),
        ("PostgreSQL", None if tables is None else tables.volatile, _POSTGRESQL_KEEPS),
    ):
        if setting:
            text = f"{label} may lose what it has acknowledged ({setting}); {keeps}"
            yield Condition("volatile", f"{text}, or WORKER_ALLOW_VOLATILE=1 if that is meant")


def _by_itself(progress: Progress) -> Iterator[Condition]:
    if repairs := progress.redis.survey.repairs_running:
        text = "A repair is running" if repairs == 1 else f"{repairs} repairs are running"
        yield Condition("repair_running", text, LOOK_AGAIN, needs_person=False)
    if progress.redis.survey.waiting.waiting and progress.gets_on:
        text = f"Backlog, being worked off: {progress.work}, {progress.replicas}"
        yield Condition("backlog", text, LOOK_AGAIN, needs_person=False)


def _well(progress: Progress) -> Condition:
    count = progress.redis.state.pending
    pending = f", {count:,} pending" if count else ""
    text = f"All well: nothing is waiting{pending}, {progress.replicas}"
    return Condition("well", text, needs_person=False)
