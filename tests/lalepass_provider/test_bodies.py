"""What goes over the wire, to the byte."""

import pytest
from twisted.internet.testing import StringTransport

from lalepass_provider.bodies import Written


def written(
    *, method: str = "POST", target: str = "/x", value: str = "yes", body: bytes = b""
) -> bytes:
    transport = StringTransport()
    headers = {"Host": "h", "X-Test": value}
    Written(method=method, target=target, headers=headers, body=body).writeTo(transport)
    content: bytes = transport.value()
    return content


@pytest.mark.parametrize(
    ("method", "body", "rest"),
    [
        ("GET", b"", b"\r\n"),
        ("POST", b"", b"Content-Length: 0\r\n\r\n"),
        ("POST", b"{}\r\n\xff", b"Content-Length: 5\r\n\r\n{}\r\n\xff"),
    ],
)
def test_a_request_is_its_head_and_its_body(method: str, body: bytes, rest: bytes) -> None:
    head = method.encode() + b" /x HTTP/1.1\r\nHost: h\r\nX-Test: yes\r\n"

    assert written(method=method, body=body) == head + rest


@pytest.mark.parametrize(
    "odd",
    [
        "a\nb",
        "a\r\nX-Other: 1",
        "a\rb",
        "a\0b",
        "\x1f",
        "\x7f",
        "\x85",
        "\u2028",
        "\u0142",
        "\ud800",
    ],
)
@pytest.mark.parametrize("where", ["method", "target", "value"])
def test_nothing_in_a_head_can_end_its_line(where: str, odd: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        written(**{where: odd})  # type: ignore[arg-type] # one of the names above

    assert odd not in str(caught.value) or where == "method"


def test_a_target_has_no_blank_in_it() -> None:
    with pytest.raises(ValueError, match="what was meant"):
        written(target="/x HTTP/1.0")
