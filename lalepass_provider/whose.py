"""Whether the account that a user of Lalepass is linked to is a person's, and that user's.

Links can be written by hand, and Synapse believes whatever it is told. So a login asks here before
it is accepted, and so does whoever writes to an account.
"""

from dataclasses import dataclass

from lalepass_provider.policy import LocalUsers
from lalepass_provider.tables import LINK, Account


@dataclass(frozen=True, kw_only=True)
class Misfit:
    """Why an account is not for this user."""

    fault: str
    """For the log."""
    told: str
    """For the person."""


def misfit(
    account: Account, *, localpart: str, server_name: str, local_users: LocalUsers
) -> Misfit | None:
    """Return why the account must be let be, or None if it is the user's of this name.

    A link, made by hand, may lead to a user of another name. Locks and orders to sign out go by the
    name: they would not find the account.
    """
    mxid = account.mxid
    if local_users.match_mxid(mxid):
        return Misfit(
            fault=f"Lalepass has a user for {mxid}, who is one of local_users",
            told="The account of this name has its password on this server alone.",
        )
    if not account.exists or not mxid.endswith(f":{server_name}"):
        return Misfit(
            fault=f"A user of Lalepass is linked to {mxid}, which is not here",
            told="Your account is not on this server any more.",
        )
    if account.special:
        return Misfit(
            fault=f"{mxid} belongs to a guest or to an application service",
            told="The account of this name on this server is not a person's.",
        )
    if localpart_of(mxid).lower() != localpart:
        return Misfit(
            fault=f"{mxid} is linked to the user {localpart} of Lalepass, who has another name."
            f" Remove the {LINK} entry of the account's external_ids with Synapse's admin API",
            told="Your account on this server has another name.",
        )
    return None


def localpart_of(mxid: str) -> str:
    """Return what is between `@` and `:`."""
    return mxid.removeprefix("@").partition(":")[0]
