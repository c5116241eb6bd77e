"""The story, chapter by chapter: each makes something happen, and insists on what must come of it."""

import time

from local.demo.balance import Balance
from local.demo.commands import Said
from local.demo.deadly import DEADLY_SYMBOL, EXIT_CODE
from local.demo.narrator import Narrator, clock
from local.demo.pace import Pace
from local.demo.producer import Sent
from local.demo.promises import insist, until
from local.demo.stage import LEASE_S, MAX_DELIVERIES, Stage
from local.demo.streams import order_of
from local.directory import LOOPBACK
from local.replicas import Replica, await_ready, fetch

UNAVAILABLE = 503
# What `worker status` and `worker audit` end with while servers answer: 1 where something needs a person.
ANSWERED = (0, 1)
UNREACHABLE = (3,)
POISON_LIMIT_S = 90.0
DUPLICATES = 1
DEAD_LETTERS = 2


class Story:
    """Two replicas, a producer who never stops, and what happens to them."""

    def __init__(self, stage: Stage, narrator: Narrator, pace: Pace) -> None:
        self._stage = stage
        self._streams = stage.streams
        self._producer = stage.producer
        self._worker = stage.commands.run
        self._tell = narrator
        self._pace = pace

    def run(self) -> list[str]:
        """Tell all of it, and return one sentence for each thing that does not add up at the end.

        Raises BrokenPromiseError as soon as something does not come as it must.
        """
        self.replicas_start()
        with self._producer.flowing():
            self.orders_flow()
            self.replica_is_killed()
            self.postgresql_is_stopped()
            poisoned = self.order_kills_its_process()
            conflict = self.order_comes_again()
            self.letters_are_closed(poisoned, conflict)
        return self.audit_is_clean() + self.all_adds_up()

    def replicas_start(self) -> None:
        """Make the tables and start the replicas."""
        redis, postgres = self._stage.redis, self._stage.postgres
        self._tell.say(f"Redis {redis.version} and PostgreSQL {postgres.version} are up.")
        self._worker("migrate")
        self._stage.start_replicas()
        first, second = self._stage.team
        self._tell.say("Two replicas of the worker take orders. Look at their pages while this goes on:")
        self._see(first)
        self._see(second)

    def orders_flow(self) -> None:
        """Let orders flow, and look."""
        self._tell.title("Orders come in, ten a second")
        time.sleep(self._pace.flow_s)
        self._look("waiting", "pending", "consumers", "results", before=self._pace.kill_at_s)

    def replica_is_killed(self) -> None:
        """Kill a replica that has orders in hand, see the other take them over, and start it again."""
        self._begin("A replica is killed with orders in its hands (kill -9)", self._pace.kill_at_s)
        victim, other = self._stage.team
        held = self._stage.kill_with_orders_in_hand(victim)
        began = time.monotonic()
        self._tell.say(
            f"{victim.name} is dead, and held {len(held)} orders. Nobody else may touch them for {LEASE_S} s,"
            " since it might be alive."
        )
        self._see(other)
        until(
            lambda: set(held) <= self._streams.results().keys(),
            f"{other.name} did not take over what {victim.name} had in hand.",
        )
        self._tell.say(
            f"{other.name} has taken over all {len(held)} after {time.monotonic() - began:.1f} s:"
            " each has one result."
        )
        self._stage.revive()
        await_ready(self._stage.team)
        self._tell.say(f"{victim.name} has been started again.")
        self._look("consumers", before=self._pace.outage_at_s)

    def postgresql_is_stopped(self) -> None:
        """Stop PostgreSQL while orders come in, look, and start it again."""
        self._begin("PostgreSQL is stopped", self._pace.outage_at_s)
        postgres, team = self._stage.postgres, self._stage.team
        letters, sent = len(self._streams.letters()), len(self._producer.sent)
        began = time.monotonic()
        postgres.stop()
        until(
            lambda: all(fetch(each.port, "/ready")[0] == UNAVAILABLE for each in team),
            "PostgreSQL is away, and the replicas still say that they are ready.",
        )
        self._tell.say("Both replicas say that they are not ready, and wait. Orders still come in.")
        self._status("waiting", "pending", codes=UNREACHABLE)
        self._see(team[0], "/ready")
        time.sleep(max(0.0, began + self._pace.outage_s - time.monotonic()))
        deliveries = self._streams.deliveries()
        postgres.start()
        away, came = time.monotonic() - began, len(self._producer.sent) - sent
        self._await_results()
        charged = [each for each, count in deliveries.items() if count > 1]
        insist(not charged, f"The outage was charged to {len(charged)} orders.")
        insist(len(self._streams.letters()) == letters, "The outage has led to a dead letter.")
        until(
            lambda: all(each.is_ready for each in team), "PostgreSQL is back, and the replicas are not ready."
        )
        self._tell.say(
            f"PostgreSQL was away for {away:.1f} s, and {came} orders came in. What the replicas held"
            f" ({len(deliveries)}) was charged no delivery for it. All orders have their result now."
        )
        self._look("PostgreSQL", before=self._pace.poison_at_s)

    def order_kills_its_process(self) -> Sent:
        """Send an order that takes down each process that executes it, until it is buried."""
        self._begin("An order kills every process that executes it", self._pace.poison_at_s)
        began = time.monotonic()
        poisoned = self._producer.send(symbol=DEADLY_SYMBOL, quantity="0.01")
        self._tell.say(
            f"{poisoned.order_id} is for {DEADLY_SYMBOL}, on which the executor of this demo crashes."
            " Replicas that die are started again."
        )
        deaths: list[int] = []

        def is_buried() -> bool:
            deaths.extend(self._stage.revive())
            return poisoned.entry_id in self._streams.letters()

        until(is_buried, f"{poisoned.order_id} was not buried.", POISON_LIMIT_S)
        took = time.monotonic() - began
        await_ready(self._stage.team)
        self._await_results()
        insist(set(deaths) == {EXIT_CODE}, f"Replicas have ended with codes {deaths}.")
        insist(len(deaths) <= MAX_DELIVERIES, f"{len(deaths)} processes died, {MAX_DELIVERIES} were allowed.")
        self._tell.say(
            f"It took {len(deaths)} processes down, each time with fewer orders beside it, and was buried"
            f" after {took:.1f} s: a dead letter, for a person. All the others have their result."
        )
        self._see(self._stage.team[0], "/dead")
        return poisoned

    def order_comes_again(self) -> Sent:
        """Send an order a second time, and a third time with another quantity."""
        self._begin("A producer sends an order again", self._pace.again_at_s)
        first = self._producer.sent[0]
        before = self._stage.duplicates()
        self._producer.repeat(first.fields)
        until(lambda: self._stage.duplicates() == before + 1, "The duplicate was not counted.")
        self._tell.say(f"{first.order_id} came again: a duplicate, without a second execution or result.")
        conflict = self._producer.repeat(first.fields, quantity="77")
        until(lambda: conflict.entry_id in self._streams.letters(), "The conflict was not buried.")
        self._tell.say(
            f"{first.order_id} came again with a quantity of 77: a conflict, and so a dead letter. The order"
            " that came first stays as it is."
        )
        self._see(self._stage.team[0], f"/orders/{first.order_id}")
        self._tell.command(self._worker("dead", "list"))
        return conflict

    def letters_are_closed(self, poisoned: Sent, conflict: Sent) -> None:
        """Mend and replay the poisoned order, discard the conflict."""
        self._begin("A person mends one letter, and discards the other", self._pace.letters_at_s)
        letters = self._streams.letters()
        replay = ("dead", "replay", letters[poisoned.entry_id], "--set", "symbol=BTCUSDT", "--yes")
        self._tell.command(self._worker(*replay))
        until(
            lambda: poisoned.order_id in self._streams.results().values(),
            f"{poisoned.order_id} was replayed, and has no result.",
        )
        self._see(self._stage.team[0], f"/orders/{poisoned.order_id}")
        if self._has_time(self._pace.proof_at_s):
            self._tell.command(self._worker("show", poisoned.order_id))
        self._tell.command(self._worker("dead", "discard", letters[conflict.entry_id], "--yes"))

    def audit_is_clean(self) -> list[str]:
        """Wait for the last order, and return a sentence where the worker can't prove that all is well."""
        self._begin("The producer stops, and everything is proven", self._pace.proof_at_s)
        self._await_acks()
        status = self._status("pending", "dead letters")
        # Findings do not end the story: what was lost is counted, too.
        audit = self._worker("audit", codes=ANSWERED)
        self._tell.command(audit)
        faults = [f"Something needs a person: {status.first}"] if status.code else []
        return [*faults, f"The audit has found something: {audit.first}"] if audit.code else faults

    def all_adds_up(self) -> list[str]:
        """Drain the replicas, and count what the streams and the table hold."""
        codes = self._stage.drain()
        balance = Balance(self._streams.evidence(self._producer.sent))
        self._tell.figures(
            {
                "orders in": f"{len(balance.orders):,}",
                "results": f"{balance.results:,}",
                "duplicates": f"{len(balance.duplicates):,}",
                "dead letters": f"{balance.dead_letters:,}",
                "lost": f"{len(balance.lost):,}",
                "executed twice": f"{len(balance.executed_twice):,}",
                "took": clock(self._tell.seconds),
            }
        )
        faults = balance.faults(duplicates=DUPLICATES, dead_letters=DEAD_LETTERS)
        if any(codes):
            faults.append(f"The replicas were asked to end, and ended with codes {codes}.")
        return faults

    def _begin(self, title: str, at_s: float) -> None:
        time.sleep(self._pace.time_left(at_s, self._tell.seconds))
        self._tell.title(title)

    def _has_time(self, before_s: float) -> bool:
        return self._pace.has_time(before_s, self._tell.seconds)

    def _look(self, *labels: str, before: float) -> None:
        if self._has_time(before):
            self._status(*labels)

    def _status(self, *labels: str, codes: tuple[int, ...] = ANSWERED) -> Said:
        status = self._worker("status", codes=codes)
        self._tell.command(status, [status.first, *status.labelled(*labels)])
        return status

    def _see(self, replica: Replica, path: str = "/") -> None:
        self._tell.see(f"http://{LOOPBACK}:{replica.port}{path}")

    def _await_acks(self) -> list[Sent]:
        """Return all that was sent until now, once it is done with."""
        sent = list(self._producer.sent)
        last = max((each.entry_id for each in sent), key=order_of)
        until(lambda: self._streams.are_acked_up_to(last), f"The orders up to {last} were not settled.")
        return sent

    def _await_results(self) -> None:
        """Wait until all that was sent until now is done with, and insist on a result or a letter of each."""
        sent = self._await_acks()
        done = self._streams.results().keys() | self._streams.letters().keys()
        missing = [each.order_id for each in sent if each.entry_id not in done]
        insist(not missing, f"Lost: {len(missing)} orders have no result, the first is {missing[:1]}.")
