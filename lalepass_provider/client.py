"""Asks the service: one typed method for each of its endpoints.

What is said here is what is asked and what counts as an answer; how it is asked, and what can go
wrong, is in `calls.py`.
"""

from lalepass_provider.calls import Calls, understood
from lalepass_provider.errors import ContractBroken
from lalepass_wire import (
    Accepted,
    CallerFacts,
    CheckRequest,
    Identifier,
    Refused,
    UserIdentifier,
    parse_answer,
    parse_caller,
    paths,
)


class LalepassClient:
    """Talks to a Lalepass service."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def check(self, request: CheckRequest, *, request_id: str | None) -> Accepted | Refused:
        """Ask whether a password is right.

        Raises:
            NoAnswer: it could not be found out.
        """
        body = await self._calls.call(
            "POST",
            paths.CHECK_CREDENTIALS,
            body=request.model_dump_json().encode(),
            request_id=request_id,
        )
        answer = understood(parse_answer, body, as_what="an answer to a check")
        if not _about(answer, request.identifier):
            raise ContractBroken("the service answered for another account")
        return answer

    async def caller(self) -> CallerFacts:
        """Ask whom the service takes us for. It changes nothing.

        Raises:
            NoAnswer: it could not be found out.
        """
        body = await self._calls.call("GET", paths.CALLER, background=True)
        return understood(parse_caller, body, as_what="an answer about a caller")

    async def aclose(self) -> None:
        """Close the connections that are not in use."""
        await self._calls.aclose()


def _about(answer: Accepted | Refused, asked: Identifier) -> bool:
    """Synapse trusts the id that it is given blindly, so it must be the one that was asked for."""
    if isinstance(answer, Refused) or not isinstance(asked, UserIdentifier):
        return True
    return answer.user.localpart == asked.localpart
