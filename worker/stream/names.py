"""The names of every key in use."""

from msgspec import Struct


class RedisNames(Struct, frozen=True):
    """The keys of one deployment, and who this replica is among its group."""

    orders: str
    results: str
    dead_letters: str
    source: str
    group: str
    consumer: str

    @property
    def settled(self) -> str:
        """The settled marks: a sorted set of entry ids, and of what is known of all of them (see marks.lua).

        They belong to where results go and to whose entries they are, whichever group has read these.
        """
        return f"{self.results}:settled:{self.source}"

    @property
    def settled_before(self) -> str:
        """The settled marks as replicas of the version before make them, by group."""
        return f"{self.orders}:settled:{self.group}"

    @property
    def unknown(self) -> str:
        """Entries of which nobody can know whether their results were published: a sorted set of ids."""
        return f"{self.results}:unknown:{self.source}"

    @property
    def walk(self) -> str:
        """Who reads the results to make the marks anew."""
        return f"{self.results}:walk:{self.source}"

    @property
    def lost_rows(self) -> str:
        """Orders whose results were published and whose rows PostgreSQL has lost.

        They are a sorted set, scored by the time of the result.
        """
        return f"{self.results}:lost:{self.source}"

    @property
    def accepted_rows(self) -> str:
        """Those of them that a person has accepted: they are not told again."""
        return f"{self.results}:accepted:{self.source}"

    @property
    def look(self) -> str:
        """Who compares the results with the table."""
        return f"{self.results}:look:{self.source}"

    @property
    def looks(self) -> str:
        """How often that was begun, and which was the last to end: a hash."""
        return f"{self.results}:looks:{self.source}"

    @property
    def token(self) -> str:
        """What this orders stream is known by, wherever its name is used again."""
        return f"{self.orders}:token"

    @property
    def results_token(self) -> str:
        """What this results stream is known by: another server may have one of the same name."""
        return f"{self.results}:token"

    @property
    def trimmed(self) -> str:
        """Entries that were trimmed while pending, until somebody has asked the inbox about them."""
        return self.trimmed_of(self.group)

    def trimmed_of(self, group: str) -> str:
        """The same of any group of the stream."""
        return f"{self.orders}:trimmed:{group}"

    @property
    def looking(self) -> str:
        """Who has looked for abandoned entries lately."""
        return f"{self.orders}:looking:{self.group}"

    @property
    def repairing(self) -> str:
        """Whose turn it is to repair what was committed lately."""
        return f"{self.orders}:repairing:{self.group}"

    @property
    def rounds(self) -> str:
        """How often that was begun, and which round was the last to end: a hash."""
        return f"{self.orders}:rounds:{self.group}"

    @property
    def tidying(self) -> str:
        """Who tidies up."""
        return f"{self.orders}:tidying:{self.group}"

    @property
    def pruning(self) -> str:
        """Whose turn it is to let rows go."""
        return f"{self.orders}:pruning:{self.group}"

    @property
    def registering(self) -> str:
        """Who keeps the line of the stream in the book of sources."""
        return f"{self.orders}:registering:{self.group}"

    def figures(self, server: str) -> str:
        """What was counted lately, for all replicas of the group."""
        return f"{self.orders}:figures:{self.group}:{server}"

    def counting(self, server: str) -> str:
        """Who counts that."""
        return f"{self.orders}:counting:{self.group}:{server}"

    def presence(self, consumer: str) -> str:
        """What a replica tells of itself."""
        return f"{self.orders}:replica:{self.group}:{consumer}"

    @property
    def set_aside(self) -> str:
        """Entries that can be neither settled nor buried: a sorted set, scored by when that was noted."""
        return f"{self.orders}:aside:{self.group}"

    @property
    def lost(self) -> str:
        """How many entries were trimmed before the group read them: a hash of `total` and the last `new`."""
        return f"{self.orders}:lost:{self.group}"

    @property
    def repairs(self) -> str:
        """Repairs at work: a sorted set of tokens.

        Each is scored by when it must have been heard of again, in ms.
        """
        return f"{self.results}:repairs:{self.source}"

    @property
    def published_again(self) -> str:
        """What repairs at work have published though a mark said it had been: a sorted set of entry ids."""
        return f"{self.results}:again:{self.source}"

    @property
    def repaired(self) -> str:
        """The last repair that came to its end: a hash of what it did, for people."""
        return f"{self.orders}:repaired:{self.group}"

    @property
    def letter_states(self) -> str:
        """How each dead letter that is closed was closed: a hash of letter ids and JSON."""
        return f"{self.dead_letters}:state"

    def scratch(self, token: str) -> "RedisNames":
        """Return names for a rehearsal that touches no real key but matches the same patterns."""
        return RedisNames(
            orders=f"{self.orders}:probe:{token}",
            results=f"{self.results}:probe:{token}",
            dead_letters=f"{self.dead_letters}:probe:{token}",
            source=self.source,
            group=self.group,
            consumer=self.consumer,
        )
