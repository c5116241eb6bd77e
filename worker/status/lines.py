"""What was found of both servers, as facts to judge and as lines for people; nothing in them moves a terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from worker.domain.texts import escaped
from worker.status.conditions import Away, Condition, Facts
from worker.status.wording import by_number, counted, span

SERVERS = {"redis": "Redis", "database": "PostgreSQL"}
# In which way a server that does not help us is away.
HOW = ("answers", "refused", "misconfigured")
SHOWN_CONSUMERS = 10
_KEEPS_NOT_KNOWN = "whether it keeps what it acknowledges is not known"
Found = Mapping[str, Mapping[str, Any]]
Line = tuple[str, str]


def facts_of(found: Found) -> Facts:
    """Return what is judged of a snapshot."""
    redis, database = found["redis"], found["database"]
    away = tuple(
        Away(label, **{how: found[server][how] for how in HOW}, reason=found[server]["error"])
        for server, label in SERVERS.items()
        if not found[server]["connected"]
    )
    facts: dict[str, Any] = {"away": away, "schema": database.get("schema", "current")}
    if "obstacle" in database:
        facts |= {"obstacle": database["obstacle"]["what"], "remedy": database["obstacle"]["remedy"]}
    if redis["connected"]:
        facts |= {
            name: redis[name]
            for name in (
                "group", "group_exists", "waiting", "waiting_exact", "oldest_waiting_age_s", "pending", "stuck",
                "longest_untouched_s", "oldest_pending_age_s", "unknown_results", "set_aside", "a_set_aside", "lost_rows",
            )
        }  # fmt: skip
        facts |= {
            "entries": redis["orders"],
            "alive": redis["consumers_alive"],
            "several_leases_s": redis["stuck_after_s"],
            "lost_unread": (redis["lost_unread"] or 0) + redis["lost_unnoticed"],
            "open_letters": redis["letters"]["open"],
            "all_letters": redis["letters"]["all"],
            "repairs": redis["repair"]["running"],
            "eviction": "" if redis["allow_eviction"] else redis["eviction"] or "",
        }
    outcomes = database.get("outcomes", {})
    facts |= {
        name: outcomes[name]
        for name in ("submitted", "oldest_submitted_age_s", "a_submitted", "last_recorded_age_s")
        if name in outcomes
    }
    facts["volatile"] = _volatile(found)
    facts["streams_of_source"] = database.get("streams_of_source", 1)
    facts["may_change_rows"] = tuple(database.get("may_change_rows", ()))
    return Facts(**facts)


def _volatile(found: Found) -> dict[str, str]:
    return {
        label: found[server]["volatile"]
        for server, label in SERVERS.items()
        if found[server].get("volatile") and not found[server]["allow_volatile"]
    }


def sentence_of(conditions: list[Condition]) -> str:
    """Return the one sentence that a person reads first."""
    worst = conditions[0]
    return escaped(f"Needs you: {worst.sentence}" if worst.needs_person else worst.sentence)


def lines_of(found: Found, conditions: list[Condition]) -> list[Line]:
    """Return label and text of each line below the sentence."""
    also = [("also", each.sentence) for each in conditions[1:]]
    lines = [*also, *_servers(found)]
    if found["redis"]["connected"]:
        lines += _streams(found["redis"])
    if "outcomes" in found["database"]:
        lines += _rows(found["database"])
    return [(label, escaped(text)) for label, text in lines]


def _servers(found: Found) -> Iterator[Line]:
    for server, label in SERVERS.items():
        details = found[server]
        if details["connected"]:
            schema = f", schema {details['schema']}" if "schema" in details else ""
            version = f"{details['version']}, " if "version" in details else ""
            keeps = f", {_KEEPS_NOT_KNOWN}" if details.get("volatile", "") is None else ""
            yield label, f"{version}answers in {details['ping_ms']:.1f} ms{schema}{keeps}"
        else:
            yield label, f"NOT CONNECTED: {details['error']}"


def _streams(redis: Mapping[str, Any]) -> Iterator[Line]:
    least = "" if redis["waiting_exact"] else "at least "
    lag = "" if redis["lag"] is None else f" (lag {redis['lag']:,})"
    gone = "is MISSING" if redis["orders"] else "is not made yet"
    missing = "" if redis["group_exists"] else f"; group {redis['group']} {gone}"
    yield (
        "waiting",
        f"{least}{redis['waiting']:,}{_ago(', the oldest for', redis['oldest_waiting_age_s'])}{lag}{missing}",
    )
    yield "pending", _pending(redis)
    yield "consumers", f"{redis['consumers_alive']} alive, {redis['consumers_gone']} gone"
    yield from _consumers(redis["consumers"])
    yield "dead letters", _letters(redis)
    lost = (
        "not watched, this server does not count what is added"
        if redis["lost_unread"] is None
        else f"{redis['lost_unread']:,}"
    )
    unnoticed = (
        f", {redis['lost_unnoticed']:,} more since a replica last looked" if redis["lost_unnoticed"] else ""
    )
    yield "lost unread", f"{lost}{unnoticed}"
    yield from _retention(redis)
    yield "repair", _repair(redis["repair"])


def _pending(redis: Mapping[str, Any]) -> str:
    oldest = _ago(", the oldest entered", redis["oldest_pending_age_s"], " ago")
    if redis["longest_untouched_s"] is None:
        return f"{redis['pending']:,}{oldest}"
    cut = (
        f" of the first {redis['pending_looked_at']:,}"
        if redis["pending_looked_at"] < redis["pending"]
        else ""
    )
    stuck = f"{redis['stuck']:,}{cut} untouched for more than {span(redis['stuck_after_s'])}"
    return f"{redis['pending']:,}{oldest}; {stuck}{_ago(', the longest for', redis['longest_untouched_s'])}"


def _consumers(consumers: list[Mapping[str, Any]]) -> Iterator[Line]:
    # Those that matter first: who holds most, and of these whoever is gone.
    ranked = sorted(consumers, key=lambda each: (-each["pending"], not each["gone"], each["idle_ms"]))
    for each in ranked[:SHOWN_CONSUMERS]:
        heard = f"last heard of {span(each['idle_ms'] / 1000)} ago"
        yield "", f"{each['name']}: {each['pending']:,} pending, {heard}{', GONE' if each['gone'] else ''}"
    if len(consumers) > SHOWN_CONSUMERS:
        yield "", f"... and {len(consumers) - SHOWN_CONSUMERS:,} more: worker pending"


def _letters(redis: Mapping[str, Any]) -> str:
    letters = redis["letters"]
    parts = []
    for state in ("open", "replayed", "discarded"):
        total = sum(letters[state].values())
        parts.append(f"{total:,} {state}" + (f" ({by_number(letters[state])})" if total else ""))
    cut = "" if letters["all"] else f"; of {redis['dead_letters']:,} only the newest {letters['looked_at']:,}"
    return ", ".join(parts) + cut


def _retention(redis: Mapping[str, Any]) -> Iterator[Line]:
    kept = redis["retention"]
    keep = span(kept["orders_keep_s"]) if kept["orders_keep_s"] else "for ever"
    yield (
        "orders",
        f"{redis['orders']:,}{_ago(', the first entered', kept['first_order_age_s'], ' ago')}; kept {keep}",
    )
    most = f"at least {kept['results_maxlen']:,}" if kept["results_maxlen"] else "all"
    yield "results", f"{redis['results']:,}; {most} kept"
    horizon = _ago(", those of entries from", kept["horizon_age_s"], " ago and before are dropped")
    noted = f"; {kept['trimmed_pending']:,} trimmed while pending" if kept["trimmed_pending"] else ""
    yield "settled marks", f"{kept['settled_marks']:,}{horizon}{noted}"


def _repair(repair: Mapping[str, Any]) -> str:
    running = f"{counted(repair['running'], 'repair')} running" if repair["running"] else "none running"
    last = repair["last"]
    if last is None:
        return f"{running}, none has been"
    done = ("published", "buried", "made_pending", "left_alone", "skipped")
    did = ", ".join(f"{last[each]} {each.replace('_', ' ')}" for each in done if last[each] not in {"", "0"})
    when = f"the last at {last['at'] or '-'} by {last['by'] or '-'} ({last['how'] or '-'})"
    return f"{running}, {when}: {last['looked_at'] or '-'} looked at, {did or 'nothing to mend'}"


def _rows(database: Mapping[str, Any]) -> Iterator[Line]:
    outcomes = database["outcomes"]
    cut = "" if outcomes["all"] else " (the newest only)"
    yield "last hour", f"{by_number(outcomes['last_hour']) or 'no orders'}{cut}"
    about = "" if database["counts_exact"] else "about "
    yield (
        "in all",
        f"{about}{counted(database['orders'], 'order')}, {about}{counted(database['trades'], 'trade')}",
    )
    if outcomes["submitted"]:
        age = _ago(", the oldest for", outcomes["oldest_submitted_age_s"])
        yield "no answer yet", f"{counted(outcomes['submitted'], 'order')} at the venue{age}"


def _ago(words: str, age_s: float | None, after: str = "") -> str:
    return "" if age_s is None else f"{words} {span(age_s)}{after}"
