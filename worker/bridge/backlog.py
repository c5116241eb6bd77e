"""What a bridge has received and not added yet: numbered, in order, bounded. Speaks to nobody."""

import re
from collections import deque
from itertools import islice
from threading import Condition

from worker.domain.channels import Batch

BATCH_MESSAGES = 500
BATCH_BYTES = 1_048_576
# What a waiting message takes besides its bytes, about.
OVERHEAD_BYTES = 200

_MILESTONE = re.compile(rb"[0-9a-f]{32}")


class Backlog:
    """One thread takes, another adds.

    A message is known by its stretch, which a milestone in the channel's order begins, and its number in it.
    Every bridge that hears a stretch hears it from its beginning and without holes, up to where it hears no
    more of it; so all bridges give a message the same number. Whoever misses one must not number those after
    it: `end`.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._waiting: deque[tuple[tuple[str, str], int, bytes]] = deque()
        self._count = 0
        self._bytes = 0
        # Its name, and the fence behind which it is heard.
        self._stretch: tuple[str, str] | None = None
        self._number = 0
        self._changed = Condition()

    def __len__(self) -> int:
        """How many messages are not added yet, those of the batch at hand among them."""
        return self._count

    @property
    def numbering(self) -> bool:
        """Whether what comes next is taken."""
        return self._stretch is not None

    @property
    def has_room(self) -> bool:
        """Whether it is worth beginning anew after an overflow."""
        return self._bytes <= self._most_bytes // 2

    def begin(self, milestone: bytes, fence: str = "") -> bool:
        """Begin a stretch, heard behind a fence. False where this is no milestone: then for no bridge."""
        if _MILESTONE.fullmatch(milestone) is None:
            return False
        self._stretch, self._number = (milestone.decode(), fence), 0
        return True

    def end(self) -> None:
        """Number nothing any more before the next milestone: something may be missed from here on."""
        self._stretch = None

    def take(self, message: bytes) -> bool:
        """Take a message; False where it has no number, or no room: those after it have no number either."""
        cost = len(message) + OVERHEAD_BYTES
        with self._changed:
            if self._stretch is None or self._bytes + cost > self._most_bytes:
                self._stretch = None
                return False
            self._number += 1
            self._waiting.append((self._stretch, self._number, message))
            self._count += 1
            self._bytes += cost
            self._changed.notify()
        return True

    def next_batch(self, wait_s: float) -> Batch | None:
        """Return the oldest messages that belong together, or None where nothing comes in time.

        They count as waiting until they are `done` with.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._waiting, timeout=wait_s):
                return None
            stretch, first, _ = self._waiting[0]
            messages: list[bytes] = []
            size = 0
            for other, _, message in islice(self._waiting, BATCH_MESSAGES):
                size += len(message)
                if other != stretch or (messages and size > BATCH_BYTES):
                    break
                messages.append(message)
            for _ in messages:
                self._waiting.popleft()
        name, fence = stretch
        return Batch(name, first, messages, fence)

    def question(self) -> Batch | None:
        """Return a batch of the present stretch that holds nothing: whether it would be added."""
        stretch = self._stretch
        return None if stretch is None else Batch(stretch[0], 1, [], stretch[1])

    def done(self, batch: Batch) -> None:
        """Let go of a batch."""
        with self._changed:
            self._count -= len(batch.messages)
            self._bytes -= sum(len(message) + OVERHEAD_BYTES for message in batch.messages)
