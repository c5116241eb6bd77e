"""How people read a snapshot: a label and a text in each line; nothing in them moves a terminal."""

from collections.abc import Iterator, Sequence

from worker.domain.database_state import Outcomes, TablesState
from worker.domain.stream_state import LastRepair
from worker.domain.texts import escaped
from worker.status.conditions import Verdict
from worker.status.snapshot import Away, Consumer, DatabaseSnapshot, RedisSnapshot, Rules, Snapshot
from worker.status.wording import by_number, counted, span

SHOWN_CONSUMERS = 10
_KEEPS_NOT_KNOWN = "whether it keeps what it acknowledges is not known"
Line = tuple[str, str]


def lines_of(snapshot: Snapshot, verdict: Verdict) -> list[Line]:
    """Return label and text of each line below the sentence."""
    also = [("also", escaped(each.sentence)) for each in verdict.conditions[1:]]
    return also + server_lines(snapshot)


def server_lines(snapshot: Snapshot) -> list[Line]:
    """Return label and text of each line that tells of a server and what it holds."""
    lines = [("Redis", _redis(snapshot.redis)), ("PostgreSQL", _database(snapshot.database))]
    if snapshot.streams is not None:
        lines += _streams(snapshot.streams, snapshot.rules)
    if snapshot.tables is not None:
        lines += _rows(snapshot.tables.state.tables, snapshot.tables.outcomes)
    return [(label, escaped(text)) for label, text in lines]


def _redis(redis: RedisSnapshot | Away) -> str:
    if isinstance(redis, Away):
        return _away(redis)
    keeps = f", {_KEEPS_NOT_KNOWN}" if redis.state.volatile is None else ""
    return f"{redis.state.version} at {redis.address}, {_answers(redis.ping_ms)}{keeps}"


def _database(database: DatabaseSnapshot | Away) -> str:
    if isinstance(database, Away):
        return _away(database)
    schema, tables = database.state.schema.state.value, database.state.tables
    version = "" if tables is None else f"{tables.version} "
    return f"{version}at {database.address}, {_answers(database.ping_ms)}, schema {schema}"


def _away(away: Away) -> str:
    return f"NOT CONNECTED: {away.error}"


def _answers(ping_ms: float) -> str:
    return f"answers in {ping_ms:.1f} ms"


def _streams(redis: RedisSnapshot, rules: Rules) -> Iterator[Line]:
    yield "waiting", _waiting(redis, rules)
    yield "pending", _pending(redis, rules)
    yield "consumers", f"{redis.alive} alive, {redis.gone} gone"
    yield from _consumers(redis.consumers)
    yield "dead letters", _letters(redis)
    yield "lost unread", _lost_unread(redis)
    yield "orders", _orders(redis, rules)
    yield "results", _results(redis, rules)
    yield "settled marks", _marks(redis)
    yield "repair", _repair(redis.survey.repairs_running, redis.survey.last_repair)


def _waiting(redis: RedisSnapshot, rules: Rules) -> str:
    state, waiting = redis.state, redis.survey.waiting
    least = "" if waiting.waiting_exact else "at least "
    lag = "" if state.lag is None else f" (lag {state.lag:,})"
    gone = "is MISSING" if state.orders else "is not made yet"
    missing = "" if state.group_exists else f"; group {rules.group} {gone}"
    age = _ago(", the oldest for", waiting.oldest_waiting_age_s)
    return f"{least}{waiting.waiting:,}{age}{lag}{missing}"


def _pending(redis: RedisSnapshot, rules: Rules) -> str:
    pending, oldest = redis.state.pending, redis.survey.oldest
    entered = _ago(", the oldest entered", redis.state.oldest_pending_age_s, " ago")
    if oldest.longest_untouched_s is None:
        return f"{pending:,}{entered}"
    looked_at = len(oldest.entry_ids)
    cut = f" of the first {looked_at:,}" if looked_at < pending else ""
    stuck = f"{oldest.stuck:,}{cut} untouched for more than {span(rules.stuck_after_s)}"
    return f"{pending:,}{entered}; {stuck}{_ago(', the longest for', oldest.longest_untouched_s)}"


def _consumers(consumers: Sequence[Consumer]) -> Iterator[Line]:
    # Those that matter first: who holds most, and of these whoever is gone.
    ranked = sorted(consumers, key=lambda each: (-each.pending, not each.gone, each.idle_ms))
    for each in ranked[:SHOWN_CONSUMERS]:
        heard = f"last heard of {span(each.idle_ms / 1000)} ago"
        yield "", f"{each.name}: {each.pending:,} pending, {heard}{', GONE' if each.gone else ''}"
    if len(consumers) > SHOWN_CONSUMERS:
        yield "", f"... and {len(consumers) - SHOWN_CONSUMERS:,} more: worker pending"


def _letters(redis: RedisSnapshot) -> str:
    letters = redis.letters
    parts = []
    for state in ("open", "replayed", "discarded"):
        by_reason = letters.by_state[state]
        total = sum(by_reason.values())
        parts.append(f"{total:,} {state}" + (f" ({by_number(by_reason)})" if total else ""))
    newest = f"; of {redis.state.dead_letters:,} only the newest {letters.looked_at:,}"
    others = f"; {letters.of_others:,} of other fleets" if letters.of_others else ""
    return ", ".join(parts) + others + ("" if letters.all else newest)


def _lost_unread(redis: RedisSnapshot) -> str:
    lost, unnoticed = redis.state.lost_unread, redis.survey.lost_unnoticed
    said = "not watched, this server does not count what is added" if lost is None else f"{lost:,}"
    return said + (f", {unnoticed:,} more since a replica last looked" if unnoticed else "")


def _orders(redis: RedisSnapshot, rules: Rules) -> str:
    entered = _ago(", the first entered", redis.survey.kept.first_order_age_s, " ago")
    keep = span(rules.orders_keep_s) if rules.orders_keep_s else "for ever"
    return f"{redis.state.orders:,}{entered}; kept {keep}"


def _results(redis: RedisSnapshot, rules: Rules) -> str:
    kept, most = redis.survey.kept, f"at least {rules.results_maxlen:,}" if rules.results_maxlen else "all"
    said = f"{redis.state.results:,}; {most} kept"
    if not kept.results_a_day:
        return said
    said += f"; {kept.results_a_day:,} a day since the first, {span(kept.first_result_age_s or 0)} ago"
    if rules.results_maxlen:
        return said
    # Of readers by XREAD nothing is known: only a person knows how far behind they may be.
    return f"{said}: WORKER_RESULTS_MAXLEN={7 * kept.results_a_day} would keep about a week"


def _marks(redis: RedisSnapshot) -> str:
    kept = redis.survey.kept
    horizon = _ago(", those of entries from", kept.horizon_age_s, " ago and before are dropped")
    noted = f"; {kept.trimmed_pending:,} trimmed while pending" if kept.trimmed_pending else ""
    return f"{kept.settled_marks:,}{horizon}{noted}"


def _repair(running: int, last: LastRepair | None) -> str:
    now = f"{counted(running, 'repair')} running" if running else "none running"
    if last is None:
        return f"{now}, none has been"
    done = (
        (last.published, "published"),
        (last.buried, "buried"),
        (last.made_pending, "made pending"),
        (last.left_alone, "left alone"),
        (last.skipped, "skipped"),
    )
    did = ", ".join(f"{count} {what}" for count, what in done if count not in {"", "0"})
    when = f"the last at {last.at or '-'} by {last.by or '-'} ({last.how or '-'})"
    return f"{now}, {when}: {last.looked_at or '-'} looked at, {did or 'nothing to mend'}"


def _rows(tables: TablesState | None, outcomes: Outcomes | None) -> Iterator[Line]:
    if outcomes is not None:
        cut = "" if outcomes.all else " (the newest only)"
        yield "last hour", f"{by_number(outcomes.last_hour) or 'no orders'}{cut}"
    if tables is not None:
        about = "" if tables.counts_exact else "about "
        counts = counted(tables.orders, "order"), counted(tables.trades, "trade")
        yield "in all", ", ".join(f"{about}{count}" for count in counts)
    if outcomes is not None and outcomes.submitted:
        age = _ago(", the oldest for", outcomes.oldest_submitted_age_s)
        yield "no answer yet", f"{counted(outcomes.submitted, 'order')} at the venue{age}"


def _ago(words: str, age_s: float | None, after: str = "") -> str:
    return "" if age_s is None else f"{words} {span(age_s)}{after}"
