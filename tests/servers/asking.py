"""Who asks a service over HTTP, as a homeserver does: one connection for each question."""

from collections.abc import Mapping
from typing import Any, Self

import httpx

from lalepass_wire import paths
from lalepass_wire.feed import Account, Changes, LockedPage
from tests.plain import NO_AUTHORITIES

_OK = 200


class NoAnswer(Exception):
    """The service did not say yes or no. `status` is that of HTTP, None if there was nothing."""

    def __init__(self, sentence: str, *, status: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status


class Caller:
    """Asks one address, which may be that of a balancer. Can be used from several threads."""

    def __init__(self, url: str, token: str, *, timeout: float = 10.0) -> None:
        self._client = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=timeout,
            # One that is left from before a fault would tell of the fault, and not of now.
            limits=httpx.Limits(max_keepalive_connections=0),
            trust_env=False,
            verify=NO_AUTHORITIES,
        )

    def __enter__(self) -> Self:
        """Nothing is asked yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._client.close()

    def check(self, localpart: str, password: str) -> bool:
        """Say whether the password is accepted.

        Raises:
            NoAnswer: neither accepted nor refused.
        """
        identifier = {"kind": "user", "localpart": localpart}
        answer = self._ask(
            "POST",
            paths.CHECK_CREDENTIALS,
            json={"identifier": identifier, "password": password},
        )
        return {"accepted": True, "refused": False}[answer.json()["result"]]

    def locked(self) -> LockedPage:
        """Return the first page of the accounts that may not be used, with the newest cursor."""
        return LockedPage.model_validate_json(self._ask("GET", paths.LOCKED).content)

    def changes(self, after: str, *, wait: float = 0.0) -> Changes:
        """Return the next page of the feed."""
        asked = {"after": after, "wait": wait}
        answer = self._ask("GET", paths.CHANGES, params=asked)
        return Changes.model_validate_json(answer.content)

    def accounts(self, after: str) -> tuple[dict[str, Account], str]:
        """Return what the feed has after the cursor, by name, to its end, and the cursor there."""
        found: dict[str, Account] = {}
        while True:
            page = self.changes(after)
            found |= {account.localpart: account for account in page.accounts}
            after = page.cursor
            if not page.more:
                return found, after

    def is_ready(self) -> bool:
        """Say whether it calls itself ready."""
        try:
            self._ask("GET", paths.HEALTH_READY)
        except NoAnswer:
            return False
        return True

    def _ask(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        params: Mapping[str, Any] | None = None,
    ) -> httpx.Response:
        try:
            answer = self._client.request(method, path, json=json, params=params)
        except httpx.HTTPError as error:
            raise NoAnswer(f"{method} {path}: {error!r}") from error
        if answer.status_code != _OK:
            # What is in it is for a program, and without secrets.
            raise NoAnswer(
                f"{method} {path}: {answer.status_code} {answer.text}", status=answer.status_code
            )
        return answer
