"""A server like Redis 8.8, on which consumers give entries back by XNACK: then nobody holds them.

On others nobody can make such an entry. Here it is given to a consumer without a name, and whoever asks, a
command or a script, is told what Redis 8.8 would tell: no consumer, and no idle time.
"""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.harness import Deployment
from worker.stream import RedisLink, scripts

# What XNACK leaves of the count: less one, as it was, the most there is.
SILENT, FAIL, FATAL = 0, 1, 2**63 - 1
# Of the last, after a claim that counts.
FATAL_AND_ONE = -(2**63)
INCLUDED = {"clock", "ids", "marks", "named"}

SHIM = """\
local server = redis
local function told(reply, command, ...)
  if type(reply) ~= 'table' or reply.err then return reply end
  if command == 'XPENDING' and select('#', ...) > 2 then
    for _, each in ipairs(reply) do
      if each[2] == '' then each[3] = -1 end
    end
  elseif command == 'XINFO' and (...) == 'CONSUMERS' then
    local held = {}
    for _, each in ipairs(reply) do
      if each[2] ~= '' then held[#held + 1] = each end
    end
    return held
  end
  return reply
end
local redis = {
  call = function(...) return told(server.call(...), ...) end,
  pcall = function(...) return told(server.pcall(...), ...) end,
  error_reply = server.error_reply,
}
"""


@pytest.fixture
def like_redis_8_8(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the server tell of entries that were given back as Redis 8.8 does."""
    text, call, call_all = scripts._text, RedisLink.call, RedisLink.call_all  # noqa: SLF001  no other way in

    def shimmed(name: str) -> str:
        return text(name) if name in INCLUDED else SHIM + text(name)

    def called(self: RedisLink, *command: Any) -> Any:
        return told(command, call(self, *command))

    def all_called(self: RedisLink, commands: Any) -> list[Any]:
        sent = [tuple(each) for each in commands]
        return [told(command, reply) for command, reply in zip(sent, call_all(self, sent), strict=True)]

    monkeypatch.setattr(scripts, "_text", shimmed)
    monkeypatch.setattr(RedisLink, "call", called)
    monkeypatch.setattr(RedisLink, "call_all", all_called)


def told(command: Sequence[Any], reply: Any) -> Any:
    """Return what Redis 8.8 replies to a command."""
    if command[0] == "XPENDING" and len(command) > 3:
        return [
            [entry_id, consumer, idle_ms if consumer else -1, count]
            for entry_id, consumer, idle_ms, count in reply
        ]
    if command[:2] == ("XINFO", "CONSUMERS"):
        return [each for each in reply if each[b"name"]]
    return reply


def give_back(deployment: Deployment, entry_ids: Sequence[str], count: int) -> None:
    """Leave pending entries to nobody, at a count, for whoever comes first."""
    most = min(count, FATAL) if count >= 0 else FATAL
    client, key, group = deployment.redis, deployment.orders, deployment.group
    client.xclaim(key, group, "", 0, list(entry_ids), time=0, retrycount=most, justid=True)
    if count == FATAL_AND_ONE:
        client.xclaim(key, group, "", 0, list(entry_ids), time=0)
