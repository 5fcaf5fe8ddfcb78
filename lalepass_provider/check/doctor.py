"""All that is looked at, in the order in which it is told."""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from lalepass_provider.check import (
    asking,
    installed,
    listing,
    options,
    passwords,
    service,
    surroundings,
)
from lalepass_provider.check.certificates import look_at_file as look_at_certificate
from lalepass_provider.check.files import Configuration, Unreadable
from lalepass_provider.check.finding import Finding, Severity, ok
from lalepass_provider.check.listing import Entry
from lalepass_provider.check.permissions import Account
from lalepass_provider.config import ProviderConfig

_LEAST_SECONDS: Final = 5.0
"""For the service to answer the doctor, who has more time than somebody who logs in."""


def reader(config: Mapping[str, Any], *, named: str | None) -> Account:
    """Return whom Synapse runs as, as far as can be known.

    It has to read its signing key. So, for root and for who can't, it is whoever owns that; else
    it is who asks.

    Raises:
        KeyError: there is nobody of that name.
    """
    if named is not None:
        return Account.named(named)
    mine = Account.mine()
    key = config.get("signing_key_path")
    if isinstance(key, str):
        with suppress(OSError, KeyError, ValueError):  # the last for what can't be a path
            if mine.uid == 0 or not os.access(key, os.R_OK):
                return Account.owner_of(Path(key))
    return mine


def look(
    configuration: Configuration,
    *,
    reader: Account,
    online: bool,
    now: float,
    ask: service.Ask = asking.ask,
) -> Iterator[Finding]:
    """Look at everything.

    Args:
        configuration: all files.
        reader: whom Synapse runs as.
        online: whether the service is asked.
        now: seconds since the epoch.
        ask: the network.

    Raises:
        Unreadable: Synapse can read the files of the module, and who looks can't.
    """
    yield from configuration.findings
    yield from listing.look(configuration.values)
    ours = listing.our_entry(configuration.values)
    yield from passwords.look(
        configuration.values,
        local_users=options.has_local_users(ours),
        try_local=options.tries_local(ours),
    )
    yield from surroundings.look(configuration.values)
    if ours is None:
        return
    config, said = options.read(ours)
    stands_in = configuration.files.get(ours.section)
    of_files = list(options.look_at_files(ours, reader=reader, stands_in=stands_in))
    # Of a file that can't be read the options know less than who has looked at it.
    if not any(each.severity is Severity.ERROR and each.option == said.option for each in of_files):
        if said.severity is Severity.ERROR:
            _refuse_what_only_synapse_sees(ours, said, reader)
        yield said
    yield from of_files
    if config is None:
        return
    yield from _look_with(config, ours, online=online, now=now, ask=ask)


def _refuse_what_only_synapse_sees(ours: Entry, said: Finding, reader: Account) -> None:
    """Say nothing of a file that is closed to us and open to Synapse."""
    path, mine = options.closed_to_us(ours, said), Account.mine()
    if path is not None and mine.uid != reader.uid:
        raise Unreadable(
            f"{mine.name} can't use {path}, and {reader.name} can: run the check as root or as"
            f" {reader.name}"
        )


def _look_with(
    config: ProviderConfig, ours: Entry, *, online: bool, now: float, ask: service.Ask
) -> Iterator[Finding]:
    option = f"{ours.option}.config"
    yield from options.look_at_plaintext(config, option=option)
    tls = config.tls.files()
    for name, path in (("certificate_path", tls.certificate_path), ("ca_path", tls.ca_path)):
        if path is not None:
            where = f"{option}.tls.{name}"
            yield from look_at_certificate(path, whose=f"in {path}", option=where, now=now)
    if not online:
        yield ok("offline", "The service was not asked.", fix="Leave out --offline.")
        return
    targets = [
        (
            f"{option}.url" if config.urls is None else f"{option}.urls[{number}]",
            asking.Target(
                address=address,
                token=config.bearer_token().current(),
                seconds=max(config.timeout, _LEAST_SECONDS),
                ca_path=tls.ca_path,
                certificate_path=tls.certificate_path,
                key_path=tls.key_path,
            ),
        )
        for number, address in enumerate(config.addresses)
    ]
    version = installed.module_version()
    scopes = ("check", "feed") if config.lifecycle.enabled else ("check",)
    yield from service.look(targets, scopes=scopes, module_version=version, ask=ask, now=now)
