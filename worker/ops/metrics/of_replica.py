"""The metrics of one replica: what it has done, how long that took, how it is."""

from collections.abc import Mapping

from worker.ops.metrics.told import counted, counter, gauge, histogram

ORDERS = (
    counted("orders_received", "Entries taken in hand", "Does this replica get anything to do?", "received"),
    counted("orders_filled", "Orders filled", "Are orders filled, and how many a second?", "filled"),
    counted("orders_rejected", "Orders rejected", "Does somebody send what breaks the rules?", "rejected"),
    counted(
        "orders_error", "Orders the executor answered with an error", "Does the venue refuse orders?", "error"
    ),
    counted(
        "orders_duplicate", "Entries that repeated an order", "Does a producer send everything twice?",
        "duplicate",
    ),
    counted("orders_dead", "Dead letters written", "Have orders been given up?", "dead"),
    counted(
        "orders_answered_again", "Entries answered from a row that an earlier delivery wrote",
        "Do orders come again that were committed, since settles fail or replicas die?", "answered_again",
    ),
    counted(
        "orders_handed_back", "Entries released, or lost to another replica",
        "Does it take what it does not finish?", "handed_back",
    ),
    counter(
        "deliveries",
        "Deliveries by what became of them; of dead letters by reason. What is retried or left stays in hand",
        "Which outcome has become more frequent, and why are letters written?",
        lambda told: told.figures.deliveries, ("outcome", "reason"),
    ),
    counted("batches", "Batches settled", "Does the loop get anywhere?", "batches"),
    gauge(
        "orders_in_hand", "Entries being worked on", "What would come again if it died now?",
        lambda told: told.counts["in_hand"],
    ),
    gauge(
        "retries_waiting", "Deliveries in hand that wait to be tried again", "Does the executor raise?",
        lambda told: told.figures.retries_waiting,
    ),
    counted(
        "unknown_fields", "Fields ignored because no order has them",
        "Has a producer begun to spell a field otherwise?", "unknown_fields",
    ),
    counted(
        "dropped_labels", "Labels dropped because they are no text",
        "Do producers send labels of another type?",
        "dropped_labels",
    ),
    counted(
        "malformed_traceparents", "Traceparents ignored since they are malformed",
        "Do producers send traces that nobody can follow?", "malformed_traceparents",
    ),
    counted(
        "unreadable_timestamps", "Timestamps that can't be read, where WORKER_MAX_ORDER_AGE_S is set",
        "Are orders judged by their entry id alone?", "unreadable_timestamps",
    ),
    counted(
        "unpublished_results", "Results that could not be published on WORKER_RESULTS_CHANNEL",
        "Do readers of the channel miss results?", "unpublished_results",
    ),
)  # fmt: skip

TIMES = (
    histogram(
        "entry_to_result_seconds",
        "Seconds from an entry's id to its settled result, by the clocks of Redis and of this machine",
        "How long does a producer wait for a result?", "entry_to_result",
    ),
    histogram(
        "commit_seconds", "Seconds of a transaction that records a batch's rows", "Is PostgreSQL slow?",
        "commit",
    ),
    histogram(
        "settle_seconds",
        "Seconds of a settle, with what is prepared of the next batch while Redis is at it", "Is Redis slow?",
        "settle",
    ),
    histogram(
        "execute_seconds", "Seconds of one call to the executor: to execute an order, or to find it",
        "Is the venue slow?", "execute",
    ),
    histogram(
        "batch_orders", "Deliveries of a settled batch", "Are batches full, so that there is a backlog?",
        "batch",
    ),
)  # fmt: skip

TROUBLE = (
    counter(
        "outages", "Times that the work stood still for a server: worker where every order ends in an error",
        "How often was a server away?",
        lambda told: {(server,): away.count for server, away in told.figures.outages.items()}, ("server",),
    ),
    counter(
        "outage_seconds", "Seconds in which the work stood still for a server, with those of now",
        "How much time did an outage cost?",
        lambda told: {(server,): away.seconds for server, away in told.figures.outages.items()}, ("server",),
    ),
    gauge(
        "in_outage", "Whether the work stands still for a server now", "Which server is to be mended?",
        lambda told: {(server,): float(away.now) for server, away in told.figures.outages.items()},
        ("server",),
    ),
    gauge(
        "connected", "Whether a server answers the checks", "Can this machine reach the server at all?",
        lambda told: {
            ("redis",): float(told.redis.connected), ("database",): float(told.database.connected)
        },
        ("server",),
    ),
    counter(
        "reconnects",
        "Times that all connections to a server were left: in an outage, at a promotion, for their age",
        "Did a server move, or does a name lead elsewhere all the time?",
        lambda told: _by_one(told.figures.reconnects), ("server",),
    ),
    counter(
        "entries_claimed", "Entries taken over from replicas that were silent for a lease",
        "Have replicas died or hung?", lambda told: told.figures.claimed,
    ),
    counted(
        "leases_lost", "Entries in hand that others have taken over",
        "Does this replica stand still at times?",
        "leases_lost",
    ),
    counted(
        "entries_released", "Entries handed back: at the end, or since too many wait to be tried again",
        "Was this replica asked to leave, or does everything fail here?", "released",
    ),
    counter(
        "repaired", "Results and letters given back to Redis, which had lost them", "Has Redis lost data?",
        lambda told: {(each,): told.figures.repaired.get(each, 0) for each in ("publish", "bury")},
        ("action",),
    ),
    counted(
        "unexpected_errors", "Errors that nobody expected", "Is there a bug? The log has its traceback.",
        "unexpected",
    ),
)  # fmt: skip

PROCESS = (
    gauge(
        "uptime_seconds", "Seconds since start", "Was this replica started again?", lambda told: told.uptime_s
    ),
    gauge(
        "sign_of_life_age_seconds", "Seconds since the loop's last sign", "Does the loop hang?",
        lambda told: told.sign_of_life_age_s,
    ),
    gauge(
        "retention_age_seconds",
        "Seconds since this replica last let go of what nobody needs; one replica does it for the fleet",
        "Does anybody trim the streams?", lambda told: told.figures.retention_age_s, fleet="min",
    ),
    gauge(
        "build_info", "The version of the worker and of Python, always 1", "Which version runs here?",
        lambda told: {(told.version, told.python): 1.0}, ("version", "python"),
    ),
    gauge(
        "worker_info", "The version of the worker alone, under the name of before",
        "As execution_build_info.",
        lambda told: {(told.version,): 1.0}, ("version",),
    ),
)  # fmt: skip


def _by_one(values: Mapping[str, int]) -> Mapping[tuple[str, ...], float]:
    return {(name,): float(value) for name, value in values.items()}
