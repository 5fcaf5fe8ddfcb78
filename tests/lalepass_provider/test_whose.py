"""Whether an account that a link leads to is a person's, and the user's."""

import logging
from typing import Any

import pytest

from lalepass_provider.accounts import AccountRefused, MatrixAccounts
from lalepass_provider.policy import Keep, LinkExisting, LocalUsers
from lalepass_provider.tables import Account, Tables
from lalepass_provider.whose import misfit
from lalepass_wire import AcceptedUser, feed
from tests.lalepass_provider.on_reactor import on_reactor
from tests.lalepass_provider.profiles import Parts

ODD: list[tuple[str, str, dict[str, Any], str]] = [
    ("@root:hs.example", "mallory", {}, "another name"),
    ("@irc_x:hs.example", "irc_x", {"appservice_id": "irc"}, "application service"),
    ("@guest:hs.example", "guest", {"is_guest": 1}, "a guest"),
    ("@bot-1:hs.example", "bot-1", {}, "local_users"),
    ("@carol:elsewhere.example", "carol", {}, "not here"),
]


@pytest.mark.parametrize(("mxid", "name", "columns", "why"), ODD)
@on_reactor
async def test_what_a_login_is_refused_for_is_not_written_to_either(
    mxid: str, name: str, columns: dict[str, Any], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Least of all the flag of an administrator."""
    parts = Parts(local_users=LocalUsers(["bot-*"]))
    homeserver = parts.homeserver
    homeserver.add(mxid, displayname="as it was", **columns)
    homeserver.record_user_external_id("lalepass", "u-1", mxid)
    accounts = MatrixAccounts(
        homeserver=homeserver,
        tables=Tables(homeserver),
        link_existing=LinkExisting.ALWAYS,
        local_users=LocalUsers(["bot-*"]),
        display_name=Keep.ALWAYS,
    )

    with caplog.at_level(logging.ERROR):
        with pytest.raises(AccountRefused):
            await accounts.ensure(AcceptedUser(id="u-1", localpart=name))
        await parts.sync.apply(
            feed.Account(
                id="u-1",
                localpart=name,
                state=feed.AccountState.ACTIVE,
                display_name="Mallory",
                emails=("m@x.org",),
                phones=("4917012345",),
                admin=True,
            )
        )

    assert homeserver.accounts[mxid] == "as it was"
    assert homeserver.addresses == []
    assert not homeserver.admin(mxid)
    of_login, of_profile = (record.getMessage() for record in caplog.records)
    assert why in of_login
    assert of_login.startswith("Not logged in: ")
    assert of_profile == of_login.replace("Not logged in", "A profile is let be")


@pytest.mark.parametrize("mxid", ["@alice:hs.example", "@Alice:hs.example"])
def test_ones_own_account_fits(mxid: str) -> None:
    fits = misfit(
        Account(mxid=mxid), localpart="alice", server_name="hs.example", local_users=LocalUsers()
    )
    assert fits is None
