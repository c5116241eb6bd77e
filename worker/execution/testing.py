"""For tests of executors of your own: an order as the worker would hand it over, and its judgement."""

from worker import wire
from worker.domain.deliveries import Delivery
from worker.domain.executions import final
from worker.domain.orders import Execution, Order, Undecodable
from worker.domain.ports import Executor

_MOST_BYTES, _MOST_FIELDS = 65_536, 64


def executed(executor: Executor, **fields: str) -> Execution:
    """Return what an executor makes of an order of these fields, as they stand on the stream.

    Raises ValueError where the fields are no order that would be executed; TypeError or ValueError where the
    worker would not take what comes back; AssertionError where one that is pure makes something else of the
    same order the second time; and whatever the executor raises.
    """
    order = _order(fields)
    made = final(executor.execute(order), order)
    if getattr(executor, "pure", False):
        again = final(executor.execute(order), order)
        assert again == made, f"pure, but not the same twice: {made}, then {again}"  # noqa: S101  for tests
    return made


def _order(fields: dict[str, str]) -> Order:
    decoder = wire.Decoder(
        source="orders",
        source_before="orders",
        order_id_field="order_id",
        max_bytes=_MOST_BYTES,
        max_fields=_MOST_FIELDS,
    )
    raw = tuple(part for name, value in fields.items() for part in (name.encode(), value.encode()))
    order = decoder.decode(Delivery("1-0", raw, 1, True))
    if isinstance(order, Order):
        return order
    raise ValueError(f"not executed: {order.error if isinstance(order, Undecodable) else order.why}")
