"""A server as strict as the strictest: no call of 4,000 arguments, no key that a script was not given."""

import re
from collections import Counter
from typing import Any

import pytest
from redis.connection import AbstractConnection

from worker.stream import scripts

REFUSED_FROM = 4_000
INCLUDED = {"clock", "ids", "marks", "named", "needed"}

SHIM = """\
local server, given = redis, {}
for _, key in ipairs(KEYS) do given[key] = true end
-- Of all others the first argument is the one key.
local no_key = {INFO = true, TIME = true, PUBLISH = true}
local second = {XINFO = true, XGROUP = true}
local function checked(command, ...)
  local words = select('#', ...) + 1
  if words >= 4000 then error('STRICT ' .. command .. ' with ' .. words .. ' arguments') end
  local key = select(second[command] and 2 or 1, ...)
  if not no_key[command] and not given[key] then
    error('STRICT ' .. command .. ' of ' .. tostring(key) .. ', which is none of its keys')
  end
end
local redis = {
  call = function(...) checked(...) return server.call(...) end,
  pcall = function(...) checked(...) return server.pcall(...) end,
  error_reply = server.error_reply,
}
"""
_HEAD = re.compile(rb"\*([0-9]+)\r\n\$[0-9]+\r\n([A-Z]+)\r\n")


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Have scripts fail where they do what is refused; return the most words of any call, by command."""
    most, text = Counter[str](), scripts._text  # noqa: SLF001  no other way in
    send: Any = AbstractConnection.send_packed_command

    def shimmed(name: str) -> str:
        return text(name) if name in INCLUDED else SHIM + text(name)

    def sending(self: Any, command: Any, *args: Any, **named: Any) -> Any:
        for words, name in _HEAD.findall(b"".join([command] if isinstance(command, bytes) else command)):
            most[name.decode()] = max(most[name.decode()], int(words))
        return send(self, command, *args, **named)

    monkeypatch.setattr(scripts, "_text", shimmed)
    monkeypatch.setattr(AbstractConnection, "send_packed_command", sending)
    return most
