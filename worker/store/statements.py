"""The statements by which rows of orders and trades are written and taken up.

Their rows come as one parameter of JSON.
"""

from sqlalchemy import ARRAY, Interval, Text, and_, any_, bindparam, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from worker.domain.orders import Status
from worker.store.rows import ORDER_COLUMNS, TRADE_COLUMNS, incoming_orders, incoming_trades
from worker.store.tables import of_source, orders, trades

_new_orders = incoming_orders("new_orders")
insert_aloud = upsert(orders).from_select(
    ORDER_COLUMNS, select(*(_new_orders[name] for name in ORDER_COLUMNS))
)
insert_orders = insert_aloud.on_conflict_do_nothing().returning(orders.c.entry_id)
_replays = incoming_orders("replays")
_owned = orders.alias("owned")
# Of two replays of one entry, or a replay and its own repetition, only the first finds the row still dead and
# owned by what was buried; the other waits for it, and then matches nothing.
_TO_TAKE_OVER = (
    orders.c.order_id == _replays["order_id"],
    orders.c.entry_id == _replays["replay_of"],
    of_source(_replays["source"]),
    orders.c.status == Status.DEAD,
    ~select(_owned.c.order_id)
    .where(_owned.c.entry_id == _replays["entry_id"], of_source(_replays["source"], _owned))
    .exists(),
)
# In one order everywhere: no deadlocks with others who note the same, or prune.
_came_again = (
    select(orders.c.order_id)
    .where(orders.c.order_id == any_(bindparam("repeated", type_=ARRAY(Text))))
    .order_by(orders.c.order_id)
    .with_for_update()
    .scalar_subquery()
)
note_repeated = (
    update(orders)
    .values(repeated_at=func.now())
    .where(orders.c.order_id.in_(_came_again))
    .returning(orders.c.order_id)
)
take_over = (
    update(orders)
    .values({name: _replays[name] for name in ORDER_COLUMNS} | {"recorded_at": func.now()})
    .where(*_TO_TAKE_OVER)
    .returning(orders.c.entry_id)
)
not_taken_over = select(orders.c.order_id).where(*_TO_TAKE_OVER).limit(1)
_OUTCOME_COLUMNS = (
    "status", "executed_at", "filled_quantity", "average_price", "error_message", "dead_reason",
)  # fmt: skip
_outcomes = incoming_orders("outcomes")
# Whatever is no intent of this entry any more stands as it is: somebody else has resolved it.
_TO_RESOLVE = (
    orders.c.order_id == _outcomes["order_id"],
    orders.c.entry_id == _outcomes["entry_id"],
    of_source(_outcomes["source"]),
    orders.c.status == Status.SUBMITTED,
)
resolve = (
    update(orders)
    .values({name: _outcomes[name] for name in _OUTCOME_COLUMNS} | {"recorded_at": func.now()})
    .where(*_TO_RESOLVE)
    .returning(orders.c.entry_id)
)
# Its own clock alone: those of replicas may differ by more than a lease.
_INTENT_OF_THE_ENTRY = (
    orders.c.entry_id == bindparam("entry"),
    of_source(bindparam("of_source")),
    orders.c.status == Status.SUBMITTED,
)
_TO_TAKE_UP = (
    *_INTENT_OF_THE_ENTRY,
    orders.c.recorded_at <= func.now() - bindparam("after", type_=Interval),
)
take_up = update(orders).values(recorded_at=func.now()).where(*_TO_TAKE_UP).returning(orders.c.entry_id)
# From before that clock was set back: else it could be taken up only once the clock is there again. What
# others write meanwhile is never ahead of the clock itself, only of the time at which our transaction began.
date_anew = (
    update(orders)
    .values(recorded_at=func.clock_timestamp())
    .where(*_INTENT_OF_THE_ENTRY, orders.c.recorded_at > func.clock_timestamp())
)
not_taken_up = select(orders.c.order_id).where(*_TO_TAKE_UP).limit(1)
not_resolved = select(orders.c.order_id).where(*_TO_RESOLVE).limit(1)
_new_trades = incoming_trades("new_trades")
insert_trades = (
    insert(trades)
    .from_select(TRADE_COLUMNS, select(*(_new_trades[name] for name in TRADE_COLUMNS)))
    .execution_options(preserve_rowcount=True)
)
# Rows that a unique key of ours would refuse a copy for.
known = select(orders.c.order_id, orders.c.entry_id, orders.c.source).where(
    or_(
        orders.c.order_id == any_(bindparam("order_ids", type_=ARRAY(Text))),
        and_(
            orders.c.entry_id == any_(bindparam("entry_ids", type_=ARRAY(Text))),
            orders.c.source == bindparam("source"),
        ),
    )
)
owners = select(orders.c.order_id).where(
    orders.c.entry_id == any_(bindparam("entry_ids", type_=ARRAY(Text))),
    of_source(bindparam("source")),
)
