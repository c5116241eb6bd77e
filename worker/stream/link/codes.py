"""The code of an error that a server replies with: the word that it begins with."""

import re

import redis

# redis-py takes the code away from the text of those that it has a class for.
_KINDS: dict[type[redis.RedisError], str] = {
    redis.ReadOnlyError: "READONLY",
    redis.BusyLoadingError: "LOADING",
    redis.exceptions.MasterDownError: "MASTERDOWN",
    redis.exceptions.MovedError: "MOVED",
    redis.exceptions.ClusterCrossSlotError: "CROSSSLOT",
    redis.exceptions.OutOfMemoryError: "OOM",
    redis.exceptions.NoPermissionError: "NOPERM",
}
# redis-py puts the command before an error within a pipeline, and servers before 7.0 the place before one
# within a script.
_BEFORE_THE_CODE = re.compile(
    r"(?:Command # \d+ \(.*?\) of pipeline caused error: )?"
    r"(?:Error running script \(call to \w+\): )?(?:@user_script: ?\d+: )*-?",
    re.DOTALL,
)


def code_of(error: redis.RedisError) -> str:
    """Return the code of an error; of those with none but ERR, which redis-py drops, the first word."""
    for kind, code in _KINDS.items():
        if isinstance(error, kind):
            return code
    return _BEFORE_THE_CODE.sub("", str(error), count=1).partition(" ")[0]
