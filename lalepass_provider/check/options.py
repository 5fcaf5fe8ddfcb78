"""The module's own options, and the files that they name."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from synapse.module_api.errors import ConfigError

from lalepass_provider import config as configuration
from lalepass_provider.addresses import shows_passwords
from lalepass_provider.check.finding import Finding, error, is_section, ok, section, warning
from lalepass_provider.check.listing import Entry
from lalepass_provider.check.permissions import Account, look_at_folder
from lalepass_provider.check.permissions import look as look_at_file
from lalepass_provider.config import ProviderConfig
from lalepass_provider.policy import Unavailable

_ITEM: Final = re.compile(r"<item (\d+)>")
# Which of the files that options name are secret.
_FILES: Final = (
    (("token_path",), True),
    (("tls", "key_path"), True),
    (("tls", "certificate_path"), False),
    (("tls", "ca_path"), False),
)
_STATE: Final = ("lifecycle", "state_path")


def read(entry: Entry) -> tuple[ProviderConfig | None, Finding]:
    """Return the options as the module understands them, and what is to be said about that."""
    prefix = f"{entry.option}.config"
    try:
        # Synapse hands over an empty mapping for whatever is empty (`util/module_loader.py`).
        config = configuration.parse(entry.config or {})
    except ConfigError as exc:
        return None, error(
            "option-wrong",
            f"Synapse will not start: {exc.msg}{'' if exc.msg.endswith('?') else '.'}",
            fix="docs/homeserver.md of Lalepass has every option.",
            option=_path(prefix, exc.path or ()),
        )
    return config, ok("options", "Every option of the module is right.", option=prefix)


def _path(prefix: str, steps: Any) -> str:  # noqa: ANN401 - whatever Synapse keeps there
    path = prefix + "".join(f".{step}" for step in steps)
    return _ITEM.sub(r"[\1]", path).replace(".[", "[")


def look_at_files(entry: Entry, *, reader: Account, stands_in: Path | None) -> Iterator[Finding]:
    """Look at the files that the options name, whether or not the options are right.

    Args:
        entry: ours.
        reader: whom Synapse runs as.
        stands_in: the configuration file that holds the options.
    """
    if not is_section(entry.config):
        return
    for steps, secret in _FILES:
        *above, name = steps
        path = section(entry.config, *above).get(name)
        option = f"{entry.option}.config.{'.'.join(steps)}"
        if isinstance(path, str) and path:
            yield from look_at_file(Path(path), reader=reader, option=option, secret=secret)
            if not Path(path).is_absolute():
                yield warning(
                    "relative-path",
                    f"{path} is looked for in the folder that Synapse is started in.",
                    fix="Write the whole path.",
                    option=option,
                )
    state_path = section(entry.config, "lifecycle").get("state_path")
    if isinstance(state_path, str) and state_path:
        option = f"{entry.option}.config.lifecycle.state_path"
        yield from look_at_folder(Path(state_path).parent, writer=reader, option=option)
    if isinstance(entry.config.get("token"), str) and stands_in is not None:
        option = f"{entry.option}.config.token"
        yield from look_at_file(stands_in, reader=reader, option=option)


def closed_to_us(entry: Entry, said: Finding) -> Path | None:
    """Return the file or folder that an error is about, if this process may not use it."""
    given = _given(entry)
    for steps in (*(steps for steps, _ in _FILES), _STATE):
        *above, name = steps
        path = section(given, *above).get(name)
        if said.option == f"{entry.option}.config.{'.'.join(steps)}" and isinstance(path, str):
            wanted, mode = (
                (Path(path).parent, os.W_OK | os.X_OK) if steps == _STATE else (Path(path), os.R_OK)
            )
            return None if os.access(wanted, mode) else wanted
    return None


def look_at_plaintext(config: ProviderConfig, *, option: str) -> Iterator[Finding]:
    """Look for addresses that passwords travel to in the open."""
    for address in config.addresses:
        if shows_passwords(address):
            yield warning(
                "plaintext",
                f"Every password crosses the network to {address} in the open.",
                fix="Put a proxy with TLS in front of the service, and write https.",
                option=f"{option}.allow_plaintext",
            )


def has_local_users(entry: Entry | None) -> bool:
    """Say whether some accounts are left to Synapse's own database."""
    return bool(_given(entry).get("local_users"))


def tries_local(entry: Entry | None) -> bool:
    """Say whether Synapse's own database is to be asked during an outage."""
    return _given(entry).get("unavailable") == Unavailable.TRY_LOCAL


def _given(entry: Entry | None) -> Mapping[str, Any]:
    return entry.config if entry and is_section(entry.config) else {}
