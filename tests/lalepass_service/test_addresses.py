"""The address of a server, as it is refused at the door."""

import pytest

from lalepass_service.config.addresses import is_loopback, server_url

GOOD = (
    "",
    "postgresql://lalepass@localhost/lalepass",
    "postgres://lalepass@127.0.0.1:5433/lalepass",
    "postgresql://lalepass@[::1]:5433/lalepass",
    "postgresql://lalepass@%2Fvar%2Frun%2Fpostgresql/lalepass",
    "postgresql://lalepass@/lalepass?host=/var/run/postgresql",
    "postgresql://lalepass@localhost:1,127.0.0.1:2/lalepass?target_session_attrs=any",
    "postgresql://lalepass@db.example.org/lalepass?sslmode=verify-full",
    "postgresql://lalepass@a:5432,b:5432/lalepass?sslmode=require",
    # in so many words
    "postgresql://lalepass@db.example.org/lalepass?sslmode=disable",
)
BAD = (
    "lalepass.db",
    "sqlite:///lalepass.db",
    "mysql://lalepass@localhost/lalepass",
    "postgresql://",
    "postgresql://lalepass@localhost",
    "postgresql://lalepass@localhost/",
    # nobody in particular
    "postgresql://localhost/lalepass",
    "postgresql://@localhost/lalepass",
    # with a password
    "postgresql://lalepass:secret@localhost/lalepass",
    "postgresql://lalepass:@localhost/lalepass",
    "postgresql://lalepass@localhost/lalepass?password=secret",
    "postgresql://lalepass@localhost/lalepass?passfile=/root/.pgpass",
    "postgresql://lalepass@localhost/lalepass?options=-cfsync%3Doff",
    "postgresql://lalepass@localhost/lalepass?sslmode",
    # over a network, and not a word on how
    "postgresql://lalepass@db.example.org/lalepass",
    "postgresql://lalepass@10.0.0.1/lalepass",
    "postgresql://lalepass@[2001:db8::1]:5432/lalepass",
    "postgresql://lalepass@localhost,db.example.org/lalepass",
    "postgresql://lalepass@/lalepass?host=db.example.org",
    "postgresql://lalepass@/lalepass",
    "postgresql://lalepass@localhost/lalepass?host=db.example.org",
    "postgresql://lalepass@localhost/lalepass?host=localhost",
    "postgresql://lalepass@localhost/lalepass?hostaddr=10.0.0.5",
    "postgresql://lalepass@/lalepass?host=127.0.0.1&host=db.example.org",
    "postgresql://lalepass@127.0.0.1,/lalepass",
    "postgresql://lalepass@db.example.org/lalepass?sslmode=require&sslpassword=secret",
    "postgresql://lalepass@db.example.org/lalepass?sslmode=require&servicefile=/etc/services",
    "postgresql://lalepass@localhost/lale pass",
    "postgresql://lalepass@localhost/lalepass\n",
    "postgresql://lalepass@localhost/lalepass#there",
    "postgresql://lalepass@löcalhost/lalepass",
    " postgresql://lalepass@localhost/lalepass",
)


@pytest.mark.parametrize("url", GOOD)
def test_an_address_is_taken_as_it_is(url: str) -> None:
    assert server_url(url) == url


@pytest.mark.parametrize("url", BAD)
def test_what_is_none_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match="its description") as refused:
        server_url(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("host", "is_one"),
    [
        ("localhost", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("/run/postgresql", True),
        ("localhost.example.org", False),
        ("128.0.0.1", False),
        ("", False),
        (None, False),
    ],
)
def test_this_machine_is_known_for_sure_only(host: str | None, is_one: bool) -> None:  # noqa: FBT001 - of a table
    assert is_loopback(host) is is_one
