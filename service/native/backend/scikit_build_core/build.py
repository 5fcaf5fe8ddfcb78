"""Tells pip what a source package is called, as it says itself, and nothing more.

pip asks the build backend of whatever it downloads. The real one wants CMake for the answer, and
here nothing is built by it.
"""

import shutil
from email import message_from_bytes
from pathlib import Path


def prepare_metadata_for_build_wheel(
    metadata_directory: str, config_settings: object = None
) -> str:
    """Hand over `PKG-INFO`, which every source package has: PEP 517 and PEP 643.

    pip before 24.2 takes the name from that of the folder.
    """
    del config_settings
    said = message_from_bytes(Path("PKG-INFO").read_bytes())
    name = f"{said['Name'].replace('-', '_')}-{said['Version']}.dist-info"
    folder = Path(metadata_directory) / name
    folder.mkdir()
    shutil.copy("PKG-INFO", folder / "METADATA")
    return folder.name


def build_wheel(*_: object) -> str:
    """Build nothing.

    Raises:
        NotImplementedError: always; pip wants the function to be there.
    """
    raise NotImplementedError
