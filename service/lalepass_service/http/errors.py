"""What can be wrong with a request before the rules see it."""


class RequestError(Exception):
    """Root of these."""


class MalformedRequest(RequestError):
    """The body is no JSON, or not of the shape in the contract."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail
        """For the caller's developer: names fields of the contract, never what was in them."""


class BodyTooLarge(RequestError):
    """The body is longer than the contract allows."""


class WrongMediaType(RequestError):
    """The body is not declared as JSON."""


class RequestTooSlow(RequestError):
    """The caller did not send the whole request in time."""


class AnswerTooSlow(RequestError):
    """The service did not come to an answer in time."""


class CallerGone(RequestError):
    """The caller hung up before the whole request was there. Nobody will read the answer."""
