"""The round trip through a bucket, and what may go wrong with it. A real one: tests/servers."""

import itertools
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lalepass_service.topology import s3
from lalepass_service.topology.finding import Amiss
from lalepass_service.topology.plan import Login
from tests.lalepass_service.topology.answering import Web, web
from tests.lalepass_service.topology.asked import NOBODY, part, said

KEY, SECRET = "matrix:synapse", "not=to:be seen"


@pytest.fixture
def login(tmp_path: Path) -> Login:
    path = tmp_path / "credentials"
    path.write_text(
        f"[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\nregion = x\n"
    )
    return Login(credentials_path=str(path))


@dataclass
class Bucket:
    """Keeps what it is given, unless a test says otherwise. Does not know signatures."""

    odd: dict[str, int] = field(default_factory=dict)
    """Which status is answered to a method in place of the right one."""
    spoils: bool = False
    strict: bool = True
    kept: dict[str, bytes] = field(default_factory=dict)
    signatures: list[str] = field(default_factory=list)

    def answer(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        self.signatures.append(headers.get("Authorization", ""))
        if method in self.odd:
            return self.odd[method], {}, b"<Error>not to be seen</Error>"
        if path == "/media":
            return (403 if self.strict else 200), {}, b""
        if method == "PUT":
            self.kept[path] = body
            return 200, {}, b""
        if method == "DELETE":
            return (204 if self.kept.pop(path, None) is not None else 404), {}, b""
        content = self.kept.get(path)
        if content is None:
            return 404, {}, b""
        if self.spoils:
            content = content[:-1] + b"?"
        return 200, {"Content-Length": str(len(content))}, content


def look(bucket: Bucket, login: Login) -> tuple[list[tuple[str, str]], Web]:
    with web({}, does=bucket.answer) as there:
        seen = s3.look("media", part("s3", there.address, bucket="media"), login)
    return said(seen), there


def test_what_is_put_comes_back_and_is_deleted(login: Login) -> None:
    bucket = Bucket()
    told, there = look(bucket, login)

    assert told == [("ok", "media: put, read and deleted 4096 bytes")]
    assert [method for method, *_ in there.asked] == ["PUT", "HEAD", "GET", "DELETE", "HEAD"]
    assert bucket.kept == {}
    assert all(f"Credential={KEY}/" in signature for signature in bucket.signatures)
    assert SECRET not in str(there.asked)
    # Names that nobody else has: neither twice the same.
    assert len({path for _, path, _, _ in there.asked}) == 2
    assert look(Bucket(), login)[1].asked[0][1] != there.asked[0][1]


def test_one_that_takes_any_secret_fails(login: Login) -> None:
    told, _ = look(Bucket(strict=False), login)

    assert told[1] == ("fail", "media: a wrong secret is taken as well")


def test_without_credentials_it_has_only_to_answer() -> None:
    bucket = Bucket()
    assert look(bucket, NOBODY)[0] == [("ok", "answers")]
    assert bucket.signatures == [""]


@pytest.mark.parametrize(
    ("address", "tls", "host"),
    [
        ("s3.example.org:443", True, "s3.example.org"),
        ("s3.example.org:80", False, "s3.example.org"),
        ("s3.example.org:443", False, "s3.example.org:443"),
        ("[fd00::1]:9000", True, "[fd00::1]:9000"),
    ],
)
def test_the_server_is_called_as_its_clients_call_it(
    login: Login, monkeypatch: pytest.MonkeyPatch, address: str, *, tls: bool, host: str
) -> None:
    # Amazon goes by this name when it compares signatures.
    called: list[str] = []

    def ask(*_: object, headers: dict[str, str], **__: object) -> None:
        called.append(headers["Host"])
        raise Amiss("nobody", fix="nothing")

    monkeypatch.setattr(s3, "ask", ask)
    with pytest.raises(Amiss, match="nobody"):
        s3.look("media", part("s3", address, bucket="media", tls=tls), login)
    assert set(called) == {host}


@pytest.mark.parametrize(
    ("bucket", "says", "fix"),
    [
        (Bucket(odd={"PUT": 403}), "media: nothing can be put: 403", "compare key, secret"),
        (Bucket(odd={"PUT": 404}), "media: nothing can be put: 404", "make the bucket"),
        (Bucket(odd={"PUT": 301}), "media: nothing can be put: 301", "make the bucket"),
        (Bucket(odd={"PUT": 503}), "media: nothing can be put: 503", "look at its log"),
        (Bucket(odd={"HEAD": 404}), "media: nothing can be found: 404", "make the bucket"),
        (Bucket(odd={"GET": 500}), "media: nothing can be read: 500", "look at its log"),
        (Bucket(odd={"DELETE": 403}), "media: nothing can be deleted: 403", "compare key"),
        (Bucket(spoils=True), "media: what is read is not what was put", "keep no media"),
    ],
    ids=itertools.count(),
)
def test_what_goes_wrong_is_told(bucket: Bucket, login: Login, says: str, fix: str) -> None:
    with pytest.raises(Amiss) as amiss:
        look(bucket, login)

    assert amiss.value.says == says
    assert amiss.value.fix.startswith(fix)
    # Whatever went wrong, nothing of it is left behind.
    assert bucket.kept == {} or "DELETE" in bucket.odd


@pytest.mark.parametrize(
    "text",
    [
        "not=to:be seen",
        "[other]\na = b\n",
        "[default]\naws_access_key_id = x\n",
        "[default",
        "[d]\n[",
    ],
    ids=itertools.count(),
)
def test_credentials_that_are_none_are_not_repeated(tmp_path: Path, text: str) -> None:
    path = tmp_path / "credentials"
    path.write_text(text)

    with pytest.raises(Amiss, match="has no \\[default\\] with aws_access_key_id") as amiss:
        s3.look("s", part("s3", "a:1", bucket="media"), Login(credentials_path=str(path)))
    assert "seen" not in amiss.value.says
