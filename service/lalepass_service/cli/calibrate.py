"""`lalepass calibrate`."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from lalepass_service.cli import console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lalepass_service.adapters.hashing.bindings import Binding
    from lalepass_service.adapters.hashing.calibration import Machine, Measured, Proposal

_Wanted = Annotated[
    float,
    typer.Option(
        metavar="N",
        min=0.01,
        max=1_000_000,
        help="The highest number that you expect, not the mean.",
    ),
]
_Binding = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="What hashes, as `binding` in [hashing]: auto, libsodium, avx2, avx512.",
    ),
]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def calibrate(
    *, logins_per_second: _Wanted, binding: _Binding = "auto", as_json: _Json = False
) -> None:
    """Measure this machine, and propose `[hashing]` for it. Changes nothing.

    Run it where the service is to run, with the limits of its container, while nothing else does.
    """
    from lalepass_service.adapters.hashing import (  # noqa: PLC0415 - nacl
        calibration,
        usable_cores,
    )
    from lalepass_service.adapters.hashing.available import available_memory_kib  # noqa: PLC0415

    machine = calibration.Machine(cores=usable_cores(), memory_kib=available_memory_kib())
    hashing = _chosen(binding)
    measured = _measured(machine, hashing, logins_per_second)
    proposal = calibration.propose(machine, measured, logins_per_second=logins_per_second)
    if as_json:
        found = _document(machine, measured, proposal, logins_per_second)
        console.say_json({"binding": hashing.name, **found})
        return
    console.say(f"hashing with {hashing.name}")
    _say_measured(machine, measured)
    console.say("")
    console.say(fragment(proposal, logins_per_second))


def fragment(proposal: "Proposal", logins_per_second: float) -> str:
    """Return the settings as TOML, with what to expect of them as comments."""
    lines = [
        f"# {line}"
        for line in (
            f"For {logins_per_second:g} logins a second at the peak:",
            *_expectation(proposal, logins_per_second),
        )
    ]
    options = [f"{name} = {value}" for name, value in settings(proposal).items()]
    return "\n".join([*lines, "[hashing]", *options])


def settings(proposal: "Proposal") -> dict[str, int | float]:
    """Return the options of `[hashing]`."""
    return {
        "memory_kib": proposal.parameters.memory_kib,
        "iterations": proposal.parameters.iterations,
        "threads": proposal.threads,
        "max_waiting": proposal.max_waiting,
        "deadline_seconds": proposal.deadline_seconds,
    }


def _expectation(proposal: "Proposal", logins_per_second: float) -> list[str]:
    memory = f"hashes take up to {proposal.memory_kib / 1024:.0f} MiB of memory"
    more = f"up to {proposal.foreign_memory_kib / 1024:.0f} MiB more"
    rate = f"{proposal.rate:.0f} a second"
    if proposal.enough:
        wait = proposal.wait_seconds * 1000
        latency = proposal.hash_seconds * 1000 + wait
        return [
            f"a login takes {latency:.0f} ms on the average, {wait:.0f} of them in the queue",
            f"the machine can do {rate}; {memory}",
            f"records of other programs may take {more} while they are verified",
        ]
    impossible = "NOT POSSIBLE on this machine:"
    if not proposal.machines:
        return [f"{impossible} not even one hash fits into half of its free memory"]
    return [
        f"{impossible} at the floor it can do {rate}, and should not be asked for more than 70 %",
        f"it takes {proposal.machines} machines of this kind for {logins_per_second:g} a second",
        f"beyond its rate this one tells logins to come back; {memory}",
    ]


def _chosen(name: str) -> "Binding":
    from lalepass_service.adapters.hashing import (  # noqa: PLC0415 - see above
        NoSuchBinding,
        calibration,
        choose,
    )

    try:
        # Each step is measured as if it were in the settings, when all of its memory may be kept.
        return choose(name, memory_kib=calibration.LADDER[-1].memory_kib)
    except NoSuchBinding as error:
        raise typer.BadParameter(str(error), param_hint="--binding") from None


def _measured(machine: "Machine", binding: "Binding", logins_per_second: float) -> "list[Measured]":
    """Climb the ladder as far as it can lead: each step is slower than the one before."""
    from lalepass_service.adapters.hashing import calibration  # noqa: PLC0415 - see above

    measured: list[Measured] = []
    work = calibration.hashes_of(binding)
    for parameters in calibration.LADDER:
        threads = calibration.threads_that_fit(parameters, machine)
        if measured and threads < measured[0].threads:
            break
        measured.append(calibration.measure(parameters, threads=max(1, threads), work=work))
        if measured[-1].rate < logins_per_second:
            break
    return measured


def _say_measured(machine: "Machine", measured: "Sequence[Measured]") -> None:
    memory = "unknown" if machine.memory_kib is None else f"{machine.memory_kib // 1024} MiB"
    console.say(f"{machine.cores} usable cores, {memory} of memory available")
    console.say_table(
        ("MEMORY KIB", "ITERATIONS", "AT A TIME", "MS A HASH", "HASHES A SECOND"),
        (
            (
                str(each.parameters.memory_kib),
                str(each.parameters.iterations),
                str(each.threads),
                f"{each.seconds * 1000:.1f}",
                f"{each.rate:.1f}",
            )
            for each in measured
        ),
    )


def _document(
    machine: "Machine",
    measured: "Sequence[Measured]",
    proposal: "Proposal",
    logins_per_second: float,
) -> dict[str, object]:
    return {
        "logins_per_second": logins_per_second,
        "machine": asdict(machine),
        "measured": [asdict(each) for each in measured],
        "enough": proposal.enough,
        "machines": proposal.machines,
        "expected": {
            "rate": proposal.rate,
            "hash_seconds": proposal.hash_seconds,
            "wait_seconds": proposal.wait_seconds,
            "memory_kib": proposal.memory_kib,
            "foreign_memory_kib": proposal.foreign_memory_kib,
        },
        "hashing": settings(proposal),
    }
