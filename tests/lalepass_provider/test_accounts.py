"""The Matrix account behind an accepted password."""

import logging
import sqlite3

import pytest
from synapse.api.errors import ResourceLimitError
from synapse.module_api.errors import SynapseError
from twisted.internet import defer

from lalepass_provider.accounts import AccountRefused, Ensured, MatrixAccounts, hush_synapse
from lalepass_provider.policy import Keep, LinkExisting, LocalUsers
from lalepass_provider.tables import Tables
from lalepass_wire import AcceptedUser
from tests.lalepass_provider.fakes import FakeHomeserver
from tests.lalepass_provider.on_reactor import on_reactor

ALICE = AcceptedUser(id="1", localpart="alice", display_name="Alice", emails=("alice@x.org",))
MXID = "@alice:hs.example"
FOUND = Ensured(mxid=MXID, created=False)
MADE = Ensured(mxid=MXID, created=True)


def accounts_of(
    homeserver: FakeHomeserver,
    link_existing: LinkExisting = LinkExisting.IF_NO_PASSWORD,
    *local_users: str,
    display_name: Keep = Keep.ON_CREATE,
) -> MatrixAccounts:
    return MatrixAccounts(
        homeserver=homeserver,
        tables=Tables(homeserver),
        link_existing=link_existing,
        local_users=LocalUsers(local_users),
        display_name=display_name,
    )


async def refusal(accounts: MatrixAccounts, user: AcceptedUser = ALICE) -> AccountRefused:
    with pytest.raises(AccountRefused) as refused:
        await accounts.ensure(user)
    return refused.value


@on_reactor
async def test_the_first_login_makes_the_account_and_links_it() -> None:
    homeserver = FakeHomeserver()

    assert await accounts_of(homeserver).ensure(ALICE) == MADE
    assert homeserver.accounts == {MXID: "Alice"}
    assert homeserver.links == {"1": MXID}


@on_reactor
async def test_s10_no_address_is_handed_over_when_an_account_is_made() -> None:
    homeserver = FakeHomeserver("@bob:hs.example")
    homeserver.add_address("@bob:hs.example", "email", "alice@x.org")

    await accounts_of(homeserver).ensure(ALICE)

    assert homeserver.addresses == [("@bob:hs.example", "email", "alice@x.org")]


@pytest.mark.parametrize("policy", LinkExisting)
@on_reactor
async def test_later_logins_find_it_whatever_the_policy_is(policy: LinkExisting) -> None:
    homeserver = FakeHomeserver()
    await accounts_of(homeserver, policy).ensure(ALICE)
    homeserver.change(MXID, password_hash="$2b$12$of-somebody")

    assert await accounts_of(homeserver, policy).ensure(ALICE) == FOUND
    assert homeserver.registered == [MXID]


@on_reactor
async def test_a_link_to_a_user_of_another_name_is_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Locks go by the name: who could log in here could not be locked out any more.
    homeserver = FakeHomeserver()
    await accounts_of(homeserver).ensure(ALICE)

    told = await refusal(
        accounts_of(homeserver), ALICE.model_copy(update={"localpart": "alice.new"})
    )

    assert (told.status, told.errcode) == (403, "M_FORBIDDEN")
    assert "has another name" in told.message
    assert "external_ids" in caplog.text


@on_reactor
async def test_a_deactivated_account_is_nobodys_although_it_is_linked() -> None:
    homeserver = FakeHomeserver()
    await accounts_of(homeserver).ensure(ALICE)
    homeserver.change(MXID, deactivated=True)

    told = await refusal(accounts_of(homeserver), ALICE)

    assert (told.status, told.errcode) == (403, "M_USER_DEACTIVATED")


@pytest.mark.parametrize("policy", LinkExisting)
@on_reactor
async def test_who_gets_the_name_of_somebody_else_does_not_get_the_account(
    policy: LinkExisting, caplog: pytest.LogCaptureFixture
) -> None:
    homeserver = FakeHomeserver()
    accounts = accounts_of(homeserver, policy)
    await accounts.ensure(ALICE)

    told = await refusal(accounts, ALICE.model_copy(update={"id": "2"}))

    assert (told.status, told.errcode) == (403, "M_FORBIDDEN")
    assert "belongs to somebody else" in told.message
    assert "external_ids" in caplog.text
    assert homeserver.links == {"1": MXID}


@pytest.mark.parametrize(
    ("policy", "password_hash", "taken"),
    [
        (LinkExisting.NEVER, None, False),
        (LinkExisting.NEVER, "$2b$12$hash", False),
        (LinkExisting.IF_NO_PASSWORD, None, True),
        (LinkExisting.IF_NO_PASSWORD, "", True),
        (LinkExisting.IF_NO_PASSWORD, "$2b$12$hash", False),
        (LinkExisting.ALWAYS, None, True),
        (LinkExisting.ALWAYS, "$2b$12$hash", True),
    ],
)
@on_reactor
async def test_an_account_that_was_there_is_taken_by_policy_only(
    policy: LinkExisting,
    password_hash: str | None,
    *,
    taken: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    homeserver = FakeHomeserver()
    homeserver.add(MXID, password_hash=password_hash)
    accounts = accounts_of(homeserver, policy)

    if taken:
        assert await accounts.ensure(ALICE) == FOUND
        assert homeserver.links == {"1": MXID}
        assert f"Linked the existing Matrix account {MXID}" in caplog.text
    else:
        told = await refusal(accounts)
        assert (told.status, told.errcode) == (403, "M_FORBIDDEN")
        assert "is not yours, as far as is known" in told.message
        assert f"link_existing: {policy.value}" in caplog.text
        assert homeserver.links == {}
    assert homeserver.registered == []
    assert homeserver.slept == []


@on_reactor
async def test_a_link_that_an_administrator_has_made_is_enough() -> None:
    homeserver = FakeHomeserver()
    homeserver.add(MXID, password_hash="$2b$12$hash")
    await homeserver.record_user_external_id("lalepass", "1", MXID)

    assert await accounts_of(homeserver, LinkExisting.NEVER).ensure(ALICE) == FOUND


@on_reactor
async def test_a_link_of_another_provider_to_another_account_says_nothing() -> None:
    homeserver = FakeHomeserver(MXID)
    await homeserver.record_user_external_id("oidc-lalepass", "1", "@bob:hs.example")

    assert await accounts_of(homeserver).ensure(ALICE) == FOUND


@pytest.mark.parametrize(
    ("policy", "taken"),
    [
        (LinkExisting.NEVER, False),
        (LinkExisting.IF_NO_PASSWORD, False),
        (LinkExisting.ALWAYS, True),
    ],
)
@on_reactor
async def test_whom_single_sign_on_lets_in_has_an_account_of_their_own(
    policy: LinkExisting, *, taken: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """It has no password, and somebody else can log in to it all the same."""
    homeserver = FakeHomeserver()
    homeserver.add(MXID, creation_ts=homeserver.now_msec // 1000)
    for provider in ("oidc-github", "saml"):
        await homeserver.record_user_external_id(provider, "9", MXID)
    accounts = accounts_of(homeserver, policy)

    assert await accounts.is_ours(MXID) is taken
    if taken:
        assert await accounts.ensure(ALICE) == FOUND
        assert homeserver.links == {"1": MXID}
    else:
        told = await refusal(accounts)
        assert (told.status, told.errcode) == (403, "M_FORBIDDEN")
        assert "somebody logs in to it by oidc-github, saml" in caplog.text
        assert homeserver.links == {}
        # No login of ours has made it, so none will link it.
        assert homeserver.slept == []


@on_reactor
async def test_who_is_linked_may_have_single_sign_on_as_well() -> None:
    homeserver = FakeHomeserver(MXID)
    await homeserver.record_user_external_id("lalepass", "1", MXID)
    await homeserver.record_user_external_id("oidc-github", "9", MXID)
    accounts = accounts_of(homeserver)

    assert await accounts.ensure(ALICE) == FOUND
    assert await accounts.is_ours(MXID)


@pytest.mark.parametrize("mxid", ["@gone:hs.example", "@alice:elsewhere.example"])
@on_reactor
async def test_a_link_that_leads_nowhere_lets_nobody_in(mxid: str) -> None:
    homeserver = FakeHomeserver("@alice:elsewhere.example")
    await homeserver.record_user_external_id("lalepass", "1", mxid)

    assert "not on this server any more" in (await refusal(accounts_of(homeserver))).message


@on_reactor
async def test_an_account_with_historic_capitals_is_the_same_account() -> None:
    homeserver = FakeHomeserver("@Alice:hs.example")
    accounts = accounts_of(homeserver)

    for _ in range(2):
        found = await accounts.ensure(ALICE)
        assert found == Ensured(mxid="@Alice:hs.example", created=False)
    assert homeserver.registered == []
    assert homeserver.links == {"1": "@Alice:hs.example"}


@on_reactor
async def test_of_several_spellings_the_exact_one_is_meant() -> None:
    homeserver = FakeHomeserver("@Alice:hs.example", MXID)

    assert await accounts_of(homeserver).ensure(ALICE) == FOUND


@on_reactor
async def test_nobody_is_let_in_where_it_could_be_either_of_two() -> None:
    homeserver = FakeHomeserver("@Alice:hs.example", "@ALICE:hs.example")

    assert "More than one account" in (await refusal(accounts_of(homeserver))).message


@pytest.mark.parametrize("policy", LinkExisting)
@on_reactor
async def test_parallel_first_logins_make_one_account(policy: LinkExisting) -> None:
    homeserver = FakeHomeserver()
    accounts = accounts_of(homeserver, policy)
    another: list[Ensured] = []

    def another_login() -> None:
        homeserver.before_registering = lambda: None
        defer.ensureDeferred(accounts.ensure(ALICE)).addCallback(another.append)

    homeserver.before_registering = another_login

    assert await accounts.ensure(ALICE) == FOUND
    assert another == [MADE]
    assert homeserver.registered == [MXID]


@on_reactor
async def test_a_login_waits_for_the_one_that_has_made_the_account_to_link_it() -> None:
    """With `never`, an account without a link would be somebody else's."""
    homeserver = FakeHomeserver()
    homeserver.add(MXID, creation_ts=homeserver.now_msec // 1000)

    def link() -> None:
        if len(homeserver.slept) == 2:
            homeserver.record_user_external_id("lalepass", "1", MXID)

    homeserver.while_sleeping = link

    assert await accounts_of(homeserver, LinkExisting.NEVER).ensure(ALICE) == FOUND


@on_reactor
async def test_it_does_not_wait_for_ever() -> None:
    homeserver = FakeHomeserver()
    homeserver.add(MXID, creation_ts=homeserver.now_msec // 1000)

    await refusal(accounts_of(homeserver, LinkExisting.NEVER))

    assert 1 <= sum(homeserver.slept) < 3


@on_reactor
async def test_what_the_homeserver_says_against_a_new_account_is_passed_on() -> None:
    homeserver = FakeHomeserver()
    homeserver.refuse = SynapseError(403, "Limit exceeded", "M_RESOURCE_LIMIT_EXCEEDED")

    told = await refusal(accounts_of(homeserver))

    assert (told.status, told.errcode) == (403, "M_RESOURCE_LIMIT_EXCEEDED")
    assert told.message == "Limit exceeded"
    assert homeserver.links == {}


@pytest.mark.parametrize("linked", [False, True], ids=["new", "linked"])
@pytest.mark.parametrize("column", ["is_guest", "appservice_id"])
@on_reactor
async def test_a_guests_or_a_puppets_account_is_nobodys_to_take(
    column: str, *, linked: bool
) -> None:
    homeserver = FakeHomeserver(MXID)
    homeserver.change(MXID, **{column: 1 if column == "is_guest" else "bridge"})
    if linked:
        await homeserver.record_user_external_id("lalepass", "1", MXID)

    told = await refusal(accounts_of(homeserver, LinkExisting.ALWAYS))

    assert "is not a person's" in told.message
    assert homeserver.links == ({"1": MXID} if linked else {})


@on_reactor
async def test_a_deactivated_account_is_not_taken() -> None:
    homeserver = FakeHomeserver(MXID)
    homeserver.change(MXID, deactivated=1)

    told = await refusal(accounts_of(homeserver, LinkExisting.ALWAYS))

    assert (told.status, told.errcode) == (403, "M_USER_DEACTIVATED")
    assert homeserver.links == {}


@on_reactor
async def test_whom_to_ask_about_a_full_server_is_passed_on() -> None:
    homeserver = FakeHomeserver()
    homeserver.refuse = ResourceLimitError(
        403, "This server is full", admin_contact="mailto:admin@x.org", limit_type="mau"
    )

    told = await refusal(accounts_of(homeserver))

    assert told.errcode == "M_RESOURCE_LIMIT_EXCEEDED"
    assert told.fields == {"admin_contact": "mailto:admin@x.org", "limit_type": "mau"}


@pytest.mark.parametrize("name", ["x" * 257, "a\0b", "  ", "a\ud800"], ids=ascii)
@on_reactor
async def test_a_name_that_no_homeserver_keeps_is_left_out(name: str) -> None:
    homeserver = FakeHomeserver()

    await accounts_of(homeserver).ensure(ALICE.model_copy(update={"display_name": name}))

    assert homeserver.accounts == {MXID: "alice"}


@on_reactor
async def test_with_never_the_account_gets_no_name_of_lalepass() -> None:
    homeserver = FakeHomeserver()

    await accounts_of(homeserver, display_name=Keep.NEVER).ensure(ALICE)

    assert homeserver.accounts == {MXID: "alice"}


@pytest.mark.parametrize("linked", [False, True], ids=["new", "linked"])
@on_reactor
async def test_a_local_users_account_is_nobodys_at_lalepass(
    *, linked: bool, caplog: pytest.LogCaptureFixture
) -> None:
    homeserver = FakeHomeserver("@Admin:hs.example")
    if linked:
        await homeserver.record_user_external_id("lalepass", "7", "@Admin:hs.example")
    admin = AcceptedUser(id="7", localpart="somebody" if linked else "admin")

    told = await refusal(accounts_of(homeserver, LinkExisting.ALWAYS, "adm*"), admin)

    assert "has its password on this server alone" in told.message
    assert "local_users" in caplog.text
    assert homeserver.registered == []


@on_reactor
async def test_no_account_is_made_that_a_local_user_could_have_one_day() -> None:
    homeserver = FakeHomeserver()
    admin = AcceptedUser(id="7", localpart="admin")

    told = await refusal(accounts_of(homeserver, LinkExisting.ALWAYS, "adm*"), admin)

    assert "has its password on this server alone" in told.message
    assert homeserver.accounts == {}


@on_reactor
async def test_nobody_and_nobody_in_person_is_ours() -> None:
    """A lock or an order to sign out must not touch a bridge's puppet of the same name."""
    homeserver = FakeHomeserver("@guest:hs.example", "@puppet:hs.example")
    homeserver.change("@guest:hs.example", is_guest=1)
    homeserver.change("@puppet:hs.example", appservice_id="bridge")
    await homeserver.record_user_external_id("lalepass", "1", "@puppet:hs.example")
    accounts = accounts_of(homeserver, LinkExisting.ALWAYS)

    for mxid in ("@nobody:hs.example", "@guest:hs.example", "@puppet:hs.example"):
        assert not await accounts.is_ours(mxid)


@on_reactor
async def test_what_is_linked_is_ours_whomever_the_link_leads_to() -> None:
    """Else sessions from before a service was set up anew, with new ids, could not be ended."""
    homeserver = FakeHomeserver(MXID)
    await homeserver.record_user_external_id("lalepass", "an id of before", MXID)

    assert await accounts_of(homeserver, LinkExisting.NEVER).is_ours(MXID)


@on_reactor
async def test_a_database_of_another_shape_lets_nobody_in() -> None:
    homeserver = FakeHomeserver(MXID)
    homeserver.database.execute("ALTER TABLE users RENAME COLUMN password_hash TO other")

    with pytest.raises(sqlite3.OperationalError, match="password_hash"):
        await accounts_of(homeserver, LinkExisting.ALWAYS).ensure(ALICE)
    assert homeserver.links == {}


def test_synapse_does_not_warn_about_our_links(caplog: pytest.LogCaptureFixture) -> None:
    hush_synapse()
    hush_synapse()
    sso = logging.getLogger("synapse.handlers.sso")

    sso.warning("User %r has an SSO mapping for IdP %r, but ...", MXID, "lalepass")
    sso.warning("User %r has an SSO mapping for IdP %r, but ...", MXID, "oidc")
    sso.warning("without arguments")

    assert [record.args for record in caplog.records] == [(MXID, "oidc"), ()]
