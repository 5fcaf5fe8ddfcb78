"""`docs/openapi.json`: the contract as the service serves it, for a reviewer to see each change.

python -m tools.openapi [--check]
"""

import argparse
import difflib
import json
import sys
from pathlib import Path
from typing import Final

_FILE: Final = Path(__file__).resolve().parent.parent / "docs" / "openapi.json"


def served() -> str:
    """Return the document as text that differs only where the contract does."""
    # Imported here, so that the other half of this file needs no service to be tested.
    from lalepass_service.app import openapi_document  # noqa: PLC0415 - see above

    return json.dumps(openapi_document(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def check(document: str, path: Path) -> int:
    """Print how the committed file differs from the document and return the exit code."""
    committed = path.read_text(encoding="utf-8") if path.exists() else ""
    difference = difflib.unified_diff(
        committed.splitlines(), document.splitlines(), "committed", "served", lineterm="", n=2
    )
    lines = list(difference)
    for line in lines:
        print(line)
    if lines:
        print(f"The contract has changed. If it should: `make openapi`, and commit {path.name}.")
        return 1
    print("docs/openapi.json is what the service serves")
    return 0


def main() -> int:
    """Write or check the file and return the exit code."""
    parser = argparse.ArgumentParser(prog="make openapi")
    parser.add_argument("--check", action="store_true", help="change nothing, show the difference")
    if parser.parse_args().check:
        return check(served(), _FILE)
    _FILE.write_text(served(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
