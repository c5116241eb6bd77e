"""Bytes that a port may get: requests of every kind, good ones altered, and what is no request at all."""

from collections.abc import Callable, Sequence

from tests.faults.fuzz.entries import Chance, altered, text

PATHS = ("/health", "/ready", "/status", "/metrics", "/orders", "/orders?limit=5")
_METHODS = (
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "get",
    "BREW",
    "",
    "G\0T",
    "GET" * 99,
    "\xe9",
)
_VERSIONS = (
    "HTTP/1.1",
    "HTTP/1.0",
    "HTTP/0.9",
    "HTTP/2.0",
    "HTTP/9.9",
    "HTTP/",
    "http/1.1",
    "HTTP/1.1 x",
    "",
    "JUNK",
    "HTTP/1." + "1" * 99,
)
_TARGETS = (
    *PATHS, *PATHS, "/", "//", "*", "", "/../health", "/%2e%2e", "/health%00", "/health\0", "/\xff\xfe", "/%",
    "/%zz", "?", "#", "http://host/health", "http://[::1/", "//[::1/health", "health", "/" + "x" * 9_000,
    "/" + "x" * 70_000, "/orders?" + "&" * 5_000, "/orders?limit=%", "/orders?limit=" + "9" * 5_000,
    "/orders?limit=1&limit=2", "/orders?limit=%00", "/orders?limit=\xff", "/orders?limit=-1",
    "/orders?limit=1e9", "/orders?limit=", "/orders?limit=\u0661", "/orders?limit[]=1", "/orders?;limit=1",
)  # fmt: skip
_HEADERS = (
    "Host: x", "Host:", "Host: x\r\nHost: y", "X: " + "y" * 5_000, "X: " + "y" * 70_000, "X" * 5_000 + ": y",
    "X : y", ": y", "X", " X: y", "X: y\r\n folded", "X: \0", "X: \x7f\xff", "Content-Length: 0",
    "Content-Length: 5", "Content-Length: -1", "Content-Length: +1", "Content-Length: 1_0",
    "Content-Length: 99999999999999999999", "Content-Length: 5\r\nContent-Length: 6", "Content-Length: x",
    "Transfer-Encoding: chunked", "Transfer-Encoding: Chunked, chunked", "Transfer-Encoding: gzip",
    "Transfer-Encoding: chunked\r\nContent-Length: 3", "Transfer-Encoding:\x0bchunked", "Connection: close",
    "Connection: keep-alive", "Connection: upgrade\r\nUpgrade: h2c", "Expect: 100-continue", "Expect: junk",
    "Range: bytes=0-0", "Accept-Encoding: gzip", "X-Forwarded-For: " + "1.2.3.4," * 50, "X-Forwarded-Host: [",
    "Forwarded: for=", "Cookie: " + "a=b;" * 300, "Upgrade: websocket",
)  # fmt: skip
_BODIES = (
    b"", b"", b"", b"12345", b"5\r\n12345\r\n0\r\n\r\n", b"5\r\n123", b"zz\r\n\r\n", b"-1\r\n\r\n",
    b"ffffffffffffffffff\r\n", b"0\r\n\r\n", b"5;x=y\r\n12345\r\n0\r\nX: y\r\n\r\n", b"1" * 300 + b"\r\n",
    b"\0" * 100, b"x" * 20_000, b"\r\n" * 500, b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n",
)  # fmt: skip
_NO_REQUESTS = (
    b"", b"\r\n", b"\r\n\r\n", b"\n\n", b"\0\0\0\0", b"GARBAGE\r\n\r\n", b"GET\r\n\r\n",
    b"GET /health\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", bytes(range(256)), b"*1\r\n$4\r\nPING\r\n", b"SSH-2.0-x\r\n",
    b"\xff" * 3_000, b"A" * 70_000, b"GET /health HTTP/1.1\nHost: x\n\n",
    b"GET /health HTTP/1.1\r\rHost: x\r\r", b"GET /health HTTP/1.0\r\nX: y",
)  # fmt: skip
LAST = b"\r\n\r\nGET /health HTTP/1.0\r\n\r\n"


def request(chance: Chance) -> bytes:
    """Draw what one client sends: one request or several at once, often altered, sometimes none at all."""
    made = b"".join(_one(chance) for _ in range(chance.choice((1, 1, 1, 2, 8))))
    if chance.random() < 0.15:
        made = chance.choice(_NO_REQUESTS)
    for _ in range(chance.choice((0, 0, 1, 1, 3))):
        made = altered(chance, made)
    return made + LAST if chance.random() < 0.7 else made


def _one(chance: Chance) -> bytes:
    some: Callable[[Sequence[str]], str] = chance.choice
    method = some(_METHODS) if chance.random() < 0.4 else "GET"
    version = some(_VERSIONS) if chance.random() < 0.3 else "HTTP/1.1"
    target = some(_TARGETS) if chance.random() < 0.9 else f"/orders?limit={text(chance)}"
    headers = [some(_HEADERS) for _ in range(chance.choice((0, 0, 1, 1, 3, 40)))]
    if chance.random() < 0.9:
        headers.insert(0, "Host: x")
    head = "\r\n".join((f"{method} {target} {version}", *headers, "", ""))
    return head.encode("utf-8", "surrogatepass") + chance.choice(_BODIES)
