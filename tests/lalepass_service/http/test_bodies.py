"""What a body may not be. Each line is a sentence: what is wrong, the bytes, the answer."""

import contextlib
import json

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lalepass_service.http.bodies import parse
from lalepass_service.http.errors import MalformedRequest
from lalepass_wire import CheckRequest, paths
from lalepass_wire.limits import MAX_PASSWORD_LENGTH, MAX_REQUEST_BYTES
from tests.lalepass_service.http.world import PASSWORD, World, a_check, assert_problem

pytestmark = pytest.mark.anyio

CANARY = "canary-7f3a"

_USER = b'{"kind":"user","localpart":"alice"}'


def _with(identifier: bytes = _USER, password: bytes = b'"correct horse"') -> bytes:
    return b'{"identifier":' + identifier + b',"password":' + password + b"}"


def _source(source: object) -> bytes:
    return json.dumps(a_check(source=source)).encode()


def _email(address: str) -> bytes:
    return _with(json.dumps({"kind": "email", "address": address}).encode())


_ODD = {
    "nothing": b"",
    "blanks": b"  \n",
    "a brace": b"{",
    "half a string": b'{"identifier":{"kind":"user","localpart":"ali',
    "null": b"null",
    "a number": b"7",
    "a string": b'"canary-7f3a"',
    "a list": b"[]",
    "an empty object": b"{}",
    "two documents": _with() + _with(),
    "a comma too many": b'{"identifier":' + _USER + b',"password":"a",}',
    "single quotes": b"{'password':'canary-7f3a'}",
    "a byte order mark": b"\xef\xbb\xbf" + _with(),
    "UTF-16": _with().decode().encode("utf-16"),
    "invalid UTF-8": _with(password=b'"\xff\xfe"'),
    "overlong UTF-8": _with(password=b'"\xc0\x80"'),
    "an encoded surrogate": _with(password=b'"\xed\xa0\x80"'),
    "an escaped lone surrogate": _with(password=b'"canary-7f3a\\ud800"'),
    "a lone surrogate in a key": b'{"\\ud800":1,' + _with()[1:],
    "a lone surrogate in an address": _with(b'{"kind":"email","address":"\\udc00a@b"}'),
    "a line feed in a string": _with(password=b'"a\nb"'),
    "an unknown escape": _with(password=b'"\\x41"'),
    "5000 lists in each other": b"[" * 5000,
    "5000 objects in each other": b'{"a":' * 3000,
    "deep nesting, closed": b"[" * 8000 + b"]" * 8000,
    "the same key twice": b'{"password":"canary-7f3a",' + _with()[1:],
    "the same key twice, once escaped": b'{"p\\u0061ssword":"canary-7f3a",' + _with()[1:],
    "the same key twice, deep inside": _with(b'{"kind":"user","kind":"user","localpart":"alice"}'),
    "NaN": _with(password=b"NaN"),
    "infinity": _with(password=b"-Infinity"),
    "a huge number": _with(password=b"9" * 6000),
    "a huge exponent": _with(password=b"1e999999"),
    "an unknown field": b'{"canary-7f3a":"canary-7f3a",' + _with()[1:],
    "an unknown field within": _with(b'{"kind":"user","localpart":"alice","canary-7f3a":1}'),
    "2000 unknown fields": json.dumps({f"k{n}": 1 for n in range(1000)}).encode(),
    "no identifier": b'{"password":"canary-7f3a"}',
    "no password": b'{"identifier":' + _USER + b"}",
    "a password that is null": _with(password=b"null"),
    "a password that is a number": _with(password=b"12345678"),
    "a password that is true": _with(password=b"true"),
    "a password in a list": _with(password=b'["canary-7f3a"]'),
    "an empty password": _with(password=b'""'),
    "a password with a NUL": _with(password=b'"canary-7f3a\\u0000"'),
    "a password too long": _with(password=b'"' + b"a" * (MAX_PASSWORD_LENGTH + 1) + b'"'),
    "an identifier that is a string": _with(b'"canary-7f3a"'),
    "an identifier without a kind": _with(b'{"localpart":"alice"}'),
    "a kind that nobody knows": _with(b'{"kind":"canary-7f3a","localpart":"alice"}'),
    "a kind that is a list": _with(b'{"kind":["user"],"localpart":"alice"}'),
    "the field of another kind": _with(b'{"kind":"email","localpart":"canary-7f3a"}'),
    "a localpart in capitals": _with(b'{"kind":"user","localpart":"Canary-7f3a"}'),
    "a Matrix ID": _with(b'{"kind":"user","localpart":"@canary-7f3a:example.org"}'),
    "an empty localpart": _with(b'{"kind":"user","localpart":""}'),
    "a localpart with a line feed": _with(b'{"kind":"user","localpart":"alice\\n"}'),
    "a localpart too long": _with(b'{"kind":"user","localpart":"' + b"a" * 253 + b'"}'),
    "an address without a sigil": _email(CANARY),
    "an address with two": _email("a@b@c"),
    "an address with a blank": _email("a b@example.org"),
    "an address too long": _email("a" * 250 + "@b.de"),
    "a phone number with a plus": _with(b'{"kind":"phone","number":"+491701234567"}'),
    "a phone number in other digits": _with(
        json.dumps({"kind": "phone", "number": "٤٩١٧٠١٢٣٤٥٦٧"}).encode()
    ),
    "a source that is a string": _source(CANARY),
    "an address of no machine": _source({"ip": CANARY}),
    "a user agent too long": _source({"user_agent": "a" * 513}),
    "an unknown field of the source": _source({CANARY: CANARY}),
}


@pytest.mark.parametrize("body", _ODD.values(), ids=_ODD.keys())
async def test_an_odd_body_is_malformed_and_is_not_repeated(
    client: httpx.AsyncClient, world: World, body: bytes
) -> None:
    assert len(body) <= MAX_REQUEST_BYTES
    answer = await client.post(
        paths.CHECK_CREDENTIALS, content=body, headers={"Content-Type": "application/json"}
    )

    problem = assert_problem(answer, 400, "malformed_request")
    assert len(problem["detail"]) < 500
    assert CANARY not in answer.text
    assert world.hasher.calls == 0


_FINE = {
    "blanks around": b" \r\n\t" + _with() + b"\n",
    "escapes": _with(password=b'"corr\\u0065ct\\u0020horse"'),
    "a null source": b'{"source":null,' + _with()[1:],
    "an empty source": b'{"source":{},' + _with()[1:],
}


@pytest.mark.parametrize("body", _FINE.values(), ids=_FINE.keys())
async def test_a_body_may_be_written_in_any_way_that_json_allows(
    client: httpx.AsyncClient, body: bytes
) -> None:
    answer = await client.post(
        paths.CHECK_CREDENTIALS, content=body, headers={"Content-Type": "application/json"}
    )

    assert answer.json()["result"] == "accepted"


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (_with(password=b'""'), "password is too short"),
        (_with(b'{"kind":"user"}'), "identifier.localpart is missing"),
        (_with(b"{}"), "identifier has no kind"),
        (b"{", "the body is not JSON (RFC 8259) in UTF-8"),
        (
            b'{"x":1,"y":2,"password":"a"}',
            "identifier is missing; the body has a field that is not in the contract",
        ),
    ],
)
async def test_the_developer_of_a_caller_is_told_what_is_wrong(
    client: httpx.AsyncClient, body: bytes, detail: str
) -> None:
    answer = await client.post(
        paths.CHECK_CREDENTIALS, content=body, headers={"Content-Type": "application/json"}
    )

    assert answer.json()["detail"] == detail


@pytest.mark.parametrize(
    "content_type",
    [None, "", "text/plain", "application/x-www-form-urlencoded", "application/jsonx", "json"],
)
async def test_what_is_not_declared_as_json_is_not_read(
    client: httpx.AsyncClient, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = await client.post(paths.CHECK_CREDENTIALS, content=_with(), headers=headers)

    assert_problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "Application/JSON", "application/json; charset=utf-8"],
)
async def test_json_is_declared_in_more_than_one_way(
    client: httpx.AsyncClient, content_type: str
) -> None:
    answer = await client.post(
        paths.CHECK_CREDENTIALS, content=_with(), headers={"Content-Type": content_type}
    )

    assert answer.status_code == 200


_JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["identifier", "password", "source", "kind", "localpart", "ip"])
            | st.text(),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(body=st.binary() | _JSON_VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_request_or_malformed(body: bytes) -> None:
    with contextlib.suppress(MalformedRequest):
        assert isinstance(parse(body, CheckRequest), CheckRequest)


async def test_the_longest_password_fits_into_a_body(
    client: httpx.AsyncClient, world: World
) -> None:
    # Each of these takes twelve bytes, escaped as a surrogate pair.
    body = json.dumps(a_check("a" * 252, "😀" * MAX_PASSWORD_LENGTH)).encode()
    answer = await client.post(
        paths.CHECK_CREDENTIALS, content=body, headers={"Content-Type": "application/json"}
    )

    assert answer.json() == {"result": "refused", "reason": "credentials"}
    assert world.hasher.calls == 1
    assert PASSWORD not in answer.text
