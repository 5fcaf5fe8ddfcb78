"""One hash on one thread, against the argon2-cffi wheel: a plain installation, and the image.

By processor time, in turns of a few hashes each: two cores that others use, too, drift by a factor.
The image is built for it, where there is a Docker engine.
"""

import json
import shutil
import statistics
import subprocess
from pathlib import Path
from typing import Final

from bench.figures import Figure, asked_to_be_quick, at_least, report
from bench.hashes import WHEEL, Figures, measure

_ROOT: Final = Path(__file__).resolve().parent.parent
_IMAGE: Final = "lalepass:bench"
_SECONDS: Final = 1800.0


def in_the_image(rounds: int) -> Figures:
    """Measure in a container of the image as it is now; nothing where there can't be one."""
    docker = shutil.which("docker")
    if docker is None or _run([docker, "info"]).returncode != 0:
        print("hash: no Docker engine answers, so the image is left out")
        return {}
    build = [docker, "build", "--quiet", "--file=service/Dockerfile", "--target=service"]
    built = _run([*build, f"--tag={_IMAGE}", "."])
    if built.returncode != 0:
        print(f"hash: no image, so it is left out: {built.stderr.strip().splitlines()[-1]}")
        return {}
    run = [docker, "run", "--rm", "--interactive", "--network=none", "--entrypoint=python"]
    script = (_ROOT / "bench" / "hashes.py").read_text(encoding="utf-8")
    done = _run([*run, _IMAGE, "-", str(rounds)], stdin=script)
    done.check_returncode()
    figures: Figures = json.loads(done.stdout)
    return figures


def _run(command: list[str], *, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command,
        cwd=_ROOT,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )


def times(figures: Figures, name: str, threads: str) -> float:
    """Return how many times as many hashes it does as the wheel, by the median of all rounds."""
    pairs = zip(figures[WHEEL][threads], figures[name][threads], strict=True)
    return statistics.median(wheel / own for wheel, own in pairs)


def table(where: str, figures: Figures) -> list[Figure]:
    """Return the figures of one installation, each against the wheel of its own process."""
    lines = [
        Figure(f"{where}: {name}", statistics.median(taken["one"]), "ms")
        for name, taken in figures.items()
    ]
    for name in (each for each in figures if each != WHEEL):
        lines += [
            Figure(f"{where}: {name} does as many times as many", times(figures, name, "one")),
            Figure(f"{where}: the same, two threads", times(figures, name, "two")),
        ]
    return lines


def main() -> None:
    """Measure and report."""
    rounds = 5 if asked_to_be_quick(__doc__) else 30
    here, there = measure(rounds), in_the_image(rounds)
    lines = [
        *table("plain", {name: here[name] for name in (WHEEL, "libsodium")}),
        *table("image", there),
        at_least("plain: as many times as many", times(here, "libsodium", "one"), 1.9),
    ]
    # Without AVX-512 there is no target; its line says what there is.
    if "avx512" in there:
        lines.append(at_least("image: as many times as many", times(there, "avx512", "one"), 2.5))
    report("hash", "Argon2id m=19456,t=2,p=1, one thread, by processor time:", lines)


if __name__ == "__main__":
    main()
