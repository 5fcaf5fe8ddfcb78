"""What may be said about where a service is, and what it means."""

import pytest

from lalepass_provider.addresses import checked, host_and_port, shows_passwords


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("https://auth.example.org", ("auth.example.org", 443)),
        ("http://auth.example.org", ("auth.example.org", 80)),
        ("https://auth.example.org:8220/", ("auth.example.org", 8220)),
        ("https://AUTH.example.org/behind/a/proxy", ("auth.example.org", 443)),
        ("http://[::1]:8220", ("::1", 8220)),
        ("http://192.0.2.7:1", ("192.0.2.7", 1)),
    ],
)
def test_an_address_names_a_host_and_a_port(url: str, where: tuple[str, int]) -> None:
    assert host_and_port(checked(url)) == where


@pytest.mark.parametrize(
    "url",
    [
        "",
        "auth.example.org",
        "ftp://auth.example.org",
        "https://",
        "https:///path",
        "https://a b",
        "https://auth.example.org/\x00",
        "https://m\u00fcller.example.org",
        "https://[::1",
        "https://[nonsense]",
        "https://auth.example.org:0",
        "https://auth.example.org:65536",
        "https://auth.example.org:port",
        "https://auth.example.org:\u0661",
        "https://user@auth.example.org",
        "https://user:pass@auth.example.org",
        "https://auth.example.org?a=b",
        "https://auth.example.org#top",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"^(begins with|needs a host|has no user name)"):
        checked(url)


@pytest.mark.parametrize(
    ("url", "open_to_others"),
    [
        ("https://auth.example.org", False),
        ("http://auth.example.org", True),
        ("http://192.0.2.7", True),
        ("http://localhost.example.org", True),
        ("http://0.0.0.0", True),
        ("http://[2001:db8::1]", True),
        ("http://localhost", False),
        ("http://127.0.0.1", False),
        ("http://127.9.9.9:80", False),
        ("http://[::1]", False),
    ],
)
def test_who_on_the_way_could_read_passwords(url: str, open_to_others: bool) -> None:  # noqa: FBT001 - a parameter of the test
    assert shows_passwords(url) is open_to_others
