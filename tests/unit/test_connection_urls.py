"""URLs that only libraries can judge: refused before anything connects, no piece of a password shown."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from worker.domain.endpoints import Endpoint
from worker.domain.errors import ConfigurationError, Outage
from worker.store import Database
from worker.store.address import address
from worker.store.options import search_path
from worker.stream import RedisLink


def redis_link(url: str) -> RedisLink:
    return RedisLink(url, block_ms=10, client_name="test")


def database(url: str) -> Database:
    return Database(url, transaction_timeout_s=1, pool_size=1, application_name="test")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hidden@127.0.0.1:abc/b",
        "postgresql://u:p@ss:hidden@127.0.0.1/b",
        "postgresql://u:first@hidden@127.0.0.1/b",
        "postgresql://u:hidden@[::1/b",
        "postgresql://u:hidden@127.0.0.1:99999/b",
        "postgresql://u:hidden@127.0.0.1/b?unheard_of=hidden",
        "postgresql://u:hidden@one,two/b?unheard_of=hidden",
        "postgresql://u:hidden@one:99999,two:5432/b",
        "postgresql://u:hidden@one:5432,two:hidden/b",
        "postgresql://u:p@hidden@one:5432,two:5432/b",
        "postgresql://u:hidden@one:1,two:2,three:3/b?port=1,2",
        "postgresql://u:hidden@/b?host=one,two&port=1,2,3",
        "postgresql://u:hidden@/b?host=one&host=two&port=1&port=2",
        "postgresql://u:hidden@/b?host=one,two&hostaddr=::1",
        "postgresql://u:hidden@one/b?sslmode=disable&sslmode=hidden",
        "postgresql://u:hidden@one/b?sslmode=hidden",
        "postgresql://u:hidden@one/b?keepalives=hidden",
        "postgresql://u:hidden@one/b?service=hidden",
        "postgresql://u:hidden%00@one/b",
        "mysql://u:hidden@one,two/b",
        "postgresql+asyncpg://u:hidden@one,two/b",
        "postgresql://u:hid/den@hidden@one,two/b",
        "hidden",
        "postgresql://u:hidden@one,two/b?target_session_attrs=prefer-standby",
        "postgresql://u:hidden@one/b?ssl=hidden",
        "postgresql://u:hidden@one,two/b?targetServerType=primary",
    ],
)
def test_database_url_that_can_not_be_used_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^DATABASE_URL: ") as caught:
        database(url)

    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "hosts", "ports"),
    [
        ("postgresql://u:p%40,@one:5432,two:5433/b?target_session_attrs=read-write", "one,two", "5432,5433"),
        ("postgres://u:p%40,@one,two/b?target_session_attrs=read-write", "one,two", ","),
        ("postgresql+psycopg://u:p%40,@[::1]:1,[::2]/b?target_session_attrs=read-write", "::1,::2", "1,"),
        ("postgresql://u:p%40,@/b?host=one:1&host=two:2&target_session_attrs=read-write", "one,two", "1,2"),
        ("postgresql://u:p%40,@/b?host=one,two&port=1,2&target_session_attrs=read-write", "one,two", "1,2"),
        ("postgresql://u:p%40,@%2Frun%2Fpg:5433/b?target_session_attrs=read-write", "/run/pg", "5433"),
        # A port for all of them, and a server that takes writes whether that is said or not.
        ("postgresql://u:p%40,@one,two/b?port=5433", "one,two", "5433,5433"),
        ("postgresql://u:p%40,@/b?host=one,two&port=5433", "one,two", "5433,5433"),
        ("postgresql://u:p%40,@one:1,two:2/b?target_session_attrs=any", "one,two", "1,2"),
        ("postgresql://u:p%40,@/b?host=one:1&host=two:2", "one,two", "1,2"),
    ],
)
def test_database_url_may_name_several_hosts_or_a_folder_as_libpq_has_them(
    url: str, hosts: str, ports: str
) -> None:
    dialect: Any = PGDialect_psycopg
    _, options = dialect().create_connect_args(address(url))

    assert options == {
        "user": "u", "password": "p@,", "dbname": "b", "target_session_attrs": "read-write",
        "host": hosts, "port": ports,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("url", "password"),
    [
        ("postgresql://u:p/q@one,two/b", "p/q"),
        ("postgresql://u:p?q=r@one,two/b", "p?q=r"),
        ("postgresql://u%20:p?q#r@one,two/b", "p?q#r"),
        ("postgresql://u:p+%zz%2B@one,two/b", "p+%zz+"),
        ("postgresql://u:@one,two/b", None),
    ],
)
def test_password_need_not_be_encoded_but_for_an_at_sign(url: str, password: str | None) -> None:
    for each in (url, url.replace("one,two", "one")):
        assert address(each).password == password
    assert address(url).query["host"] == "one,two"
    assert address(url).query["target_session_attrs"] == "read-write"


@pytest.mark.parametrize("host", ["one", "one,two"])
def test_plus_in_an_option_is_a_plus_as_libpq_has_it(host: str) -> None:
    assert address(f"postgresql://u:p@{host}/b+c?options=-c%20a%3Db+c").query["options"] == "-c a=b+c"
    assert address(f"postgresql://u:p@{host}/b+c").database == "b+c"


def test_socket_without_a_file_is_a_host() -> None:
    assert address("postgresql:///b?host=@one").query["host"] == "@one"


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of services, in which `orders` has two hosts."""
    file = tmp_path / "services"
    file.write_text("[orders]\nhost=one,two\nport=5433\nuser=u\npassword=hidden\n", encoding="utf-8")
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    return file


@pytest.mark.parametrize("url", ["postgresql://?service=orders", "postgresql:///b?service=orders"])
def test_hosts_of_a_service_are_as_if_the_url_named_them(service: Path, url: str) -> None:
    dialect: Any = PGDialect_psycopg
    _, options = dialect().create_connect_args(address(url))

    assert service.exists()
    assert (options["host"], options["port"]) == ("one,two", "5433,5433")
    assert options["target_session_attrs"] == "read-write"
    assert "password" not in options


def test_hosts_of_the_environment_are_as_if_the_url_named_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "one,two")
    monkeypatch.setenv("PGPORT", "5433,5434")

    query = address("postgresql://u:p@/b").query

    assert (query["host"], query["port"]) == ("one,two", "5433,5434")
    assert query["target_session_attrs"] == "read-write"


def test_service_that_asks_for_a_standby_among_several_is_refused(service: Path) -> None:
    service.write_text("[orders]\nhost=one,two\ntarget_session_attrs=standby\n", encoding="utf-8")

    with pytest.raises(ConfigurationError, match="asks for a server that takes no writes"):
        address("postgresql:///b?service=orders")


@pytest.mark.parametrize(
    ("url", "attributes"),
    [
        ("postgresql://u:p@one,two/b?target_session_attrs=primary", "primary"),
        ("postgresql://u:p@one/b", None),
        ("postgresql://u:p@/b?hostaddr=127.0.0.1,127.0.0.2&port=5433", "read-write"),
    ],
)
def test_server_that_takes_writes_is_looked_for_where_there_are_several(
    url: str, attributes: str | None
) -> None:
    assert address(url).query.get("target_session_attrs") == attributes


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
@pytest.mark.parametrize("host", ["one", "one,two"])
def test_database_url_may_ask_for_tls_in_the_word_of_jdbc(scheme: str, host: str) -> None:
    assert address(f"{scheme}://u:p@{host}/b?ssl=true").query["sslmode"] == "require"


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hidden@127.0.0.1:1/0?unheard_of=hidden",
        "redis://:hidden@127.0.0.1:1/0?socket_timeout=hidden",
        "redis://127.0.0.1:hidden/0",
        "rediss://:hidden@127.0.0.1:1/0?ssl_cert_reqs=hidden",
        "rediss://:hidden@127.0.0.1:1/0?ssl_ca_certs=/no/such/file",
        "rediss://:hidden@127.0.0.1:1/0?ssl_certfile=/",
        "redis://:pass?hidden=word@127.0.0.1:1/0",
        "redis://:hidden@127.0.0.1:1/0?db=hidden",
        "redis://:hidden@127.0.0.1:1/0?ssl_ca_certs=/etc/hostname",
        "redis://:hidden@127.0.0.1:1/0?socket_keepalive_options=1",
        "redis://:hidden@127.0.0.1:1/0?maint_notifications_config=x",
        "redis://:hidden@127.0.0.1:1/0?socket_type=x",
        "redis://:hidden@127.0.0.1:1/0?command_packer=x",
        "redis://:hidden@127.0.0.1:1/0?event_dispatcher=x",
        "redis://:hidden@127.0.0.1:1/0?cache_config=x",
    ],
)
def test_redis_url_that_can_not_be_used_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^REDIS_URL: ") as caught:
        redis_link(url)

    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("connect", "url"),
    [
        (database, "postgresql://u:p@one/b?unheard_of=hidden"),
        (database, "postgresql://u:p@one,two/b?unheard_of=hidden"),
        (redis_link, "redis://:p@127.0.0.1:1/0?unheard_of=hidden"),
    ],
)
def test_option_that_is_not_known_is_named_without_its_value(
    connect: Callable[[str], object], url: str
) -> None:
    with pytest.raises(ConfigurationError, match=r"option 'unheard_of' is not known$"):
        connect(url)


def test_database_url_that_can_not_be_used_any_more_is_an_outage() -> None:
    urls = ["postgresql://u:p@127.0.0.1:1/b"]
    database = Database(
        Endpoint(lambda: urls[-1]), transaction_timeout_s=1, pool_size=1, application_name="test"
    )
    urls.append("postgresql://u:p@one:1,two:2,three:3/b?port=1,2")

    with pytest.raises(Outage, match="not the same number"):
        database.ping()

    database.close()


@pytest.mark.parametrize(
    "url",
    ["redis://127.0.0.1:1", "rediss://127.0.0.1:1", "unix:///nowhere/redis.sock", "unix://:p@/nowhere?db=1"],
)
def test_redis_of_every_scheme_that_is_away_is_an_outage(url: str) -> None:
    link = redis_link(url)

    with pytest.raises(Outage):
        link.ping()

    link.close()


def test_option_of_a_redis_url_does_not_replace_what_the_worker_relies_on() -> None:
    link = redis_link("redis://127.0.0.1:1?decode_responses=True&socket_timeout=900&protocol=2")

    # No server tells them apart.
    pool = link._clients.commands.connection_pool  # noqa: SLF001
    options = pool.connection_kwargs

    assert (options["decode_responses"], options["socket_timeout"], options["protocol"]) == (False, 5.0, 3)
    # With it the library takes a connection again that has a reply left.
    assert not pool.maint_notifications_enabled()
    link.close()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("", None),
        ("-c statement_timeout=0 -B 3", None),
        ("-c search_path=a,b", "a,b"),
        ("-csearch_path=a", "a"),
        ("--search-path=a", "a"),
        (r"-c Search_Path=a\ b\\", "a b\\"),
        ("-c search_path=", ""),
        ("-c search_path", None),
        ("-c", None),
        ("  --search_path=a\t-c jit=off -c search_path=b ", "b"),
        ("-c application_name=search_path=a", None),
    ],
)
def test_search_path_is_found_in_options_as_the_server_reads_them(options: str, named: str | None) -> None:
    assert search_path(options) == named
