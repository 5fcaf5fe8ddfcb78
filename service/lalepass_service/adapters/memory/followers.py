"""What followers have to be told, as the accounts in a dictionary write it down."""

from datetime import datetime

from lalepass_service.core.changes import SignOutOrder
from lalepass_service.core.model import UserId


class MemoryFollowers:
    """Places in the feed, and orders."""

    def __init__(self) -> None:
        self.places: dict[UserId, tuple[int, str]] = {}
        """The place and the name of each account that has changed."""
        self.orders: dict[UserId, SignOutOrder] = {}
        """In the order in which they were given."""
        self.head = 0

    def mark(self, user_id: UserId, localpart: str) -> None:
        """Move an account to the end of the feed."""
        self.head += 1
        old = [each for each, (_, name) in self.places.items() if name == localpart]
        for each in {user_id, *old}:
            self.places.pop(each, None)
        self.places[user_id] = (self.head, localpart)

    def order(self, user_id: UserId, localpart: str, *, at: datetime) -> None:
        """Order that every session of an account ends."""
        self.mark(user_id, localpart)
        self.orders.pop(user_id, None)
        self.orders[user_id] = SignOutOrder(
            seq=self.head,
            id=f"order-{self.head}",
            user_id=user_id,
            localpart=localpart,
            ordered_at=at,
        )
