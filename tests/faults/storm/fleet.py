"""A fleet in the storm: its streams, what is sent to it, and who reads its results."""

from tests.faults.storm.ends import Producer, Reader
from tests.faults.storm.figures import Account, account
from tests.faults.storm.traffic import traffic
from tests.harness import Deployment


class Fleet:
    """One deployment with both of its ends.

    One that follows another is sent the same under other order ids, each entry under the id that the other's
    has got.
    """

    def __init__(
        self, deployment: Deployment, orders: int, seed: int, follows: "Fleet | None" = None
    ) -> None:
        self.deployment = deployment
        self.sent = traffic(orders, seed, "" if follows is None else "second-")
        under = None if follows is None else follows.producer.accepted
        self.producer: Producer = Producer(deployment, self.sent.entries, under)
        self.reader = Reader(deployment)

    @property
    def waiting(self) -> int:
        """How many results are due for what was added."""
        return self.sent.due[len(self.producer.accepted)] - len(self.reader.ids)

    def finish(self) -> Account:
        """Read what is left, and say what became of what was sent."""
        self.reader.finish()
        # What Redis acknowledged, and nothing else, was accepted; an answer that was lost has been asked for
        # again.
        self.deployment.accepted += self.producer.accepted
        return account(self.deployment, self.sent, self.producer.accepted, self.reader)
