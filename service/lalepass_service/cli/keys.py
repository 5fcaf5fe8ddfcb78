"""`lalepass keys ...`."""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from lalepass_service.cli import console, operate
from lalepass_service.cli.session import session
from lalepass_service.core.audit import Event
from lalepass_service.core.errors import Conflict, UnreadableRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lalepass_service.adapters.keys import KeyVault
    from lalepass_service.adapters.sql.acts import Copy
    from lalepass_service.adapters.sql.engine import Database
    from lalepass_service.adapters.sql.rewrap import Progress
    from lalepass_service.config import Config

app = typer.Typer(help="Manage the keys that encrypt (wrap) stored password records.")

_KeyId = Annotated[str, typer.Argument(metavar="ID", help="As `lalepass keys status` shows it.")]


@app.command()
def add(context: typer.Context) -> None:
    """Create a key. It is not used until it is promoted, unless it is the first one."""
    # Here and below: the cipher and the database take their time to import.
    from lalepass_service import parts  # noqa: PLC0415

    config = session(context).load()
    directory = parts.key_directory(config)
    record = operate.acts_on_files(config)
    key_id = directory.add()
    active = directory.load().active
    console.say(key_id)
    record(Event.KEY_ADDED, {"key_id": key_id, "active": key_id == active})
    if active == key_id:
        console.explain(f"This is the first key in {directory.path}: it is active.")
    else:
        console.explain(
            f"Make a copy of the files in {directory.path}, then: lalepass keys promote {key_id}"
        )


@app.command()
def promote(context: typer.Context, key_id: _KeyId) -> None:
    """Wrap new records with this key. A running service notices by itself."""
    from lalepass_service import parts  # noqa: PLC0415

    config = session(context).load()
    directory = parts.key_directory(config)
    record = operate.acts_on_files(config)
    if key_id in operate.retired_keys(config):
        raise Conflict(f"the key {key_id} is retired: make another one with `lalepass keys add`")
    directory.promote(key_id)
    console.say(f"the key {key_id} is active")
    record(Event.KEY_PROMOTED, {"key_id": key_id})
    console.explain("Older records keep their keys until: lalepass keys rewrap")


@app.command()
def rewrap(context: typer.Context) -> None:
    """Wrap all records with the active key, while the service runs.

    Can be interrupted at any time and run again.
    """
    from lalepass_service import parts  # noqa: PLC0415

    config = session(context).load()
    vault = parts.key_vault(config)
    record = operate.acts_on_files(config)
    active, counts = vault.ring.active, _Counts()
    try:
        with parts.copy_of_acts(config, uncopied=operate.warn_of_no_copy) as copy:
            done, left = operate.on_database(
                config, lambda database: _rewrap(database, vault, counts, copy)
            )
    finally:
        # Also when it was interrupted: what was moved is moved.
        if counts.moved:
            record(Event.KEYS_REWRAPPED, {"key_id": active, "moved": counts.moved})
    console.say(f"records moved to the key {vault.ring.active}: {done.moved}")
    if done.unreadable:
        raise UnreadableRecord(
            f"records that no key in {config.keys.directory} opens, left as they are: "
            f"{done.unreadable}"
        )
    if left:
        console.explain(f"records that need another key again: {left}; run it once more")


@app.command()
def retire(
    context: typer.Context,
    key_id: _KeyId,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Remove a key that no record needs any more."""
    from lalepass_service import parts  # noqa: PLC0415
    from lalepass_service.adapters.sql.rewrap import retire as remove  # noqa: PLC0415

    config = session(context).load()
    directory = parts.key_directory(config)
    directory.require(key_id)
    if not yes:
        _confirm(key_id)
    act = operate.act_now(Event.KEY_RETIRED, {"key_id": key_id})
    with parts.copy_of_acts(config, uncopied=operate.warn_of_no_copy) as copy:
        operate.on_database(config, lambda database: remove(database, directory, key_id, act=act))
        copy(act)
    console.say(f"the key {key_id} is removed")
    console.explain(
        "Where other machines have a folder of their own, give the same command there. Nothing is "
        "wrapped with it any more; one on which it is still active stores no passwords."
    )


@app.command()
def status(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,  # noqa: FBT002 - an option of the command line
) -> None:
    """List the keys and how many records need each of them."""
    state = _state(session(context).load())
    if as_json:
        console.say_json(state.document())
        return
    console.say_table(("KEY", "STATE", "RECORDS"), state.rows())
    if state.active in state.retired:
        console.explain(f"lalepass: warning: {state.why_retired}")
    if state.unwrapped:
        console.explain(f"records that are not wrapped: {state.unwrapped}; lalepass keys rewrap")


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    directory: str
    active: str
    ids: "frozenset[str]"
    usage: "Mapping[str | None, int]"
    retired: "frozenset[str]"
    """Those that are there though they were retired, on another machine."""

    @property
    def why_retired(self) -> str:
        from lalepass_service.adapters.sql.retired import retired_here  # noqa: PLC0415 - see above

        return retired_here(self.active)

    @property
    def unwrapped(self) -> int:
        return self.usage.get(None, 0)

    @property
    def missing(self) -> list[str]:
        """Keys that records need and that are not there."""
        return sorted(key_id for key_id in self.usage if key_id and key_id not in self.ids)

    def rows(self) -> list[tuple[str, str, str]]:
        def row(key_id: str, state: str) -> tuple[str, str, str]:
            return key_id, state, str(self.usage.get(key_id, 0))

        def state(key_id: str) -> str:
            facts = {"active": key_id == self.active, "RETIRED": key_id in self.retired}
            return ", ".join(name for name, true in facts.items() if true)

        there = [row(key_id, state(key_id)) for key_id in sorted(self.ids)]
        return there + [row(key_id, "MISSING") for key_id in self.missing]

    def document(self) -> dict[str, object]:
        def entry(key_id: str) -> dict[str, object]:
            return {"id": key_id, "records": self.usage.get(key_id, 0)}

        return {
            "directory": self.directory,
            "active": self.active,
            "keys": [entry(key_id) for key_id in sorted(self.ids)],
            "missing": [entry(key_id) for key_id in self.missing],
            "retired": sorted(self.retired),
            "unwrapped": self.unwrapped,
        }


def _state(config: "Config") -> _State:
    from lalepass_service import parts  # noqa: PLC0415
    from lalepass_service.adapters.sql.rewrap import key_usage  # noqa: PLC0415

    directory = parts.key_directory(config)
    ring = directory.load()
    usage = operate.on_database(config, key_usage)
    return _State(
        directory=str(directory.path),
        active=ring.active,
        ids=ring.ids,
        usage=usage,
        retired=operate.retired_keys(config) & ring.ids,
    )


@dataclass(slots=True)
class _Counts:
    moved: int = 0


async def _rewrap(
    database: "Database", vault: "KeyVault", counts: _Counts, copy: "Copy"
) -> "tuple[Progress, int]":
    """Return what was done, and how many records need another key all the same."""
    from lalepass_service.adapters.sql.rewrap import Rewrap, pending  # noqa: PLC0415

    active = vault.ring.active
    total = await pending(database, active=active)
    act = operate.act_now(Event.KEYS_REWRAP_BEGUN, {"key_id": active, "pending": total})
    work = Rewrap(database=database, vault=vault, act=act, copy=copy)

    def report(progress: "Progress") -> None:
        counts.moved = progress.moved
        console.explain(f"{progress.seen} of {total}")

    return await work.run(report), await work.pending()


def _confirm(key_id: str) -> None:
    if not sys.stdin.isatty():
        raise console.WrongUsage("there is no terminal to ask on: use --yes")
    question = f"Backups from before the last rewrap need it. Type {key_id} to remove it for good"
    if typer.prompt(question, default="", show_default=False) != key_id:
        raise console.WrongUsage("that is another key: nothing is removed")
