"""Who may call: tokens, shown once, stored as digests, scoped."""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Final

from lalepass_service.core.audit import Actor, Event
from lalepass_service.core.errors import (
    CallerUnknown,
    InvalidInput,
    ScopeMissing,
    TokenNotFound,
)
from lalepass_service.core.model import Caller, Scope
from lalepass_service.core.ports import Callers, Clock
from lalepass_service.core.recognised import RecognisedTokens

LIVE_TOKENS_PER_NAME: Final = 2
"""The one in use and the one that replaces it: a rotation needs no more, and a forgotten third
would be a door that nobody watches."""

_TOKEN: Final = re.compile(r"lalepass_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ID_BYTES: Final = 6
_SECRET_BYTES: Final = 32
_NO_DIGEST: Final = bytes(hashlib.sha256().digest_size)


class CallerRegistry:
    """Makes tokens and recognises them. Every method may raise StoreUnavailable."""

    def __init__(
        self,
        *,
        callers: Callers,
        clock: Clock,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
        seconds: Callable[[], float] = monotonic,
    ) -> None:
        self._callers = callers
        self._clock = clock
        self._random_bytes = random_bytes
        self._recognised = RecognisedTokens(find=callers.find, seconds=seconds)

    async def create(self, name: str, scopes: Iterable[Scope], *, by: Actor) -> tuple[Caller, str]:
        """Make a token, and return it with its text, which can't be had again.

        Raises:
            InvalidInput: the name is none, or there is no scope.
            TooManyTokens: the name has two live tokens already.
        """
        if not _NAME.fullmatch(name):
            raise InvalidInput("a token's name is made of letters, digits and . _ -, at most 64")
        caller = Caller(
            token_id=self._random_bytes(_ID_BYTES).hex(),
            name=name,
            scopes=frozenset(scopes),
            created_at=self._clock.now(),
        )
        if not caller.scopes:
            raise InvalidInput("a token needs at least one scope")
        secret = _url_safe(self._random_bytes(_SECRET_BYTES))
        act = by.act(
            Event.TOKEN_CREATED,
            at=caller.created_at,
            details={
                "token_id": caller.token_id,
                "name": name,
                "scopes": " ".join(sorted(caller.scopes)),
            },
        )
        await self._callers.add(caller, _digest(secret), limit=LIVE_TOKENS_PER_NAME, act=act)
        return caller, f"lalepass_{caller.token_id}_{secret}"

    async def authenticate(self, token: str, scope: Scope) -> Caller:
        """Return the caller behind a token.

        Raises:
            CallerUnknown: the token is malformed, unknown or revoked: the caller can't tell which.
            ScopeMissing: it is good, but not for `scope`.
        """
        caller = await self.recognise(token)
        if scope not in caller.scopes:
            raise ScopeMissing(scope)
        return caller

    async def recognise(self, token: str) -> Caller:
        """Return the caller behind a token, whatever it is good for.

        Raises:
            CallerUnknown: the token is malformed, unknown or revoked: the caller can't tell which.
        """
        parts = _TOKEN.fullmatch(token)
        if parts is None:
            raise CallerUnknown
        token_id, secret = parts.groups()
        # The id is no secret, so a look-up by it may take its time; the rest is compared in
        # constant time. SHA-256 is enough for 256 random bits, which no one can guess.
        digest = _digest(secret)
        recalled = self._recognised.recall(token_id)
        if recalled is not None and hmac.compare_digest(recalled[1], digest):
            return recalled[0]
        # A wrong secret as well: that a token is remembered makes no difference to it.
        stored, looked = await self._recognised.look_up(token_id)
        genuine = hmac.compare_digest(_NO_DIGEST if stored is None else stored[1], digest)
        if stored is None or not genuine or stored[0].revoked_at is not None:
            raise CallerUnknown
        self._recognised.remember(token_id, stored, looked=looked)
        return stored[0]

    async def all(self) -> Sequence[Caller]:
        """Return every token, the oldest first."""
        return await self._callers.all()

    async def revoke(self, token_id: str, *, by: Actor) -> None:
        """Revoke a token, from now on.

        Raises:
            TokenNotFound: there is no such token.
        """
        now = self._clock.now()
        act = by.act(Event.TOKEN_REVOKED, at=now, details={"token_id": token_id})
        if not await self._callers.revoke(token_id, at=now, act=act):
            raise TokenNotFound(token_id)
        self._recognised.forget(token_id)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _url_safe(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
