"""Names that nearly are those of an order's fields.

What a producer means by them is ignored, and it should know.
"""

from collections.abc import Callable, Iterable, Mapping

from worker.wire.names import FieldNames

# As other programs call them, without case and signs. A wrong guess costs one line in the log.
_MEANT = {
    "order_id": (
        "id", "oid", "orderno", "ordernumber", "orderref", "ordlinkid", "orderlinkid", "uuid",
        "clientorderid", "newclientorderid", "origclientorderid", "clientoid", "clordid", "clordlinkid",
        "idempotencykey",
    ),
    "symbol": (
        "pair", "ticker", "instrument", "instid", "instrumentid", "market", "product", "productid", "asset",
    ),
    "side": ("direction", "action", "buysell", "orderside"),
    "quantity": (
        "qty", "quant", "amount", "size", "volume", "vol", "units", "lots", "origqty", "orderqty",
        "baseqty", "basesize", "quantities",
    ),
    # Of an order's type nothing is read: a limit is its price, and one without a price is a market order.
    "price": ("limitprice", "px", "rate", "limit", "ordertype", "ordtype"),
    "stop_loss_pct": ("stoploss", "stoplosspercent", "stoplosspercentage", "stoppct", "slpct", "sl"),
    "signal_id": ("signal",),
    "timestamp": ("ts", "time", "datetime", "createdat", "sentat"),
    "strategy_id": ("strategy",),
    "bot_id": ("bot",),
    "client_id": ("client",),
}  # fmt: skip
_SIGNS = str.maketrans("", "", "_-. ")
REMEMBERED = 64
LONGEST_REMEMBERED = 1024


class NearNames:
    """Warns of each layout once, with what is ignored in it and the name that is read instead.

    Layouts beyond the first so many, and longer ones, are not looked at: nobody can fill the memory or the
    log with them.
    """

    def __init__(self, names: FieldNames, warn: Callable[[Mapping[str, str]], None]) -> None:
        # `order_id` is known whichever field names an order, and that is the one to be told of.
        meant = {name: names.order_id if name == "order_id" else name for name in names.known}
        self._meant = {_folded(name): to for name, to in meant.items()}
        for name, others in _MEANT.items():
            self._meant |= {other: meant[name] for other in others if other not in self._meant}
        self._known = names.known | {carrier.decode() for carrier in names.carriers}
        self._warn = warn
        # By their hashes: of two that share one the second is not looked at, and the names of neither are
        # kept.
        self._seen: set[int] = set()

    def look_at(self, entry: Iterable[bytes]) -> None:
        """Warn of the names of a flat entry."""
        self.look(tuple(name.decode("utf-8", "replace") for name in entry))

    def look(self, layout: tuple[str, ...]) -> None:
        """Warn of the names of a payload, unless these were seen before."""
        key = hash(layout)
        if key in self._seen or len(self._seen) >= REMEMBERED or sum(map(len, layout)) > LONGEST_REMEMBERED:
            return
        self._seen.add(key)
        unknown = [name for name in layout if name not in self._known]
        near = {name: self._meant[folded] for name in unknown if (folded := _folded(name)) in self._meant}
        if near:
            self._warn(near)


def _folded(name: str) -> str:
    return name.translate(_SIGNS).lower()
