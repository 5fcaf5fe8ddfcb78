"""Who runs a command, for the trail."""

import os
import pwd
from collections.abc import Mapping
from typing import Final

from lalepass_service.core.audit import Actor, Fact

_MAX_NAME: Final = 64


def operator(environ: Mapping[str, str] = os.environ) -> Actor:
    """Return who runs this command: the name that the system has for the effective user.

    Behind sudo that is who the person has become, so who they were comes along as a fact. It is
    what the environment says, which whoever may run commands as this user may also write.
    """
    user = os.geteuid()
    try:
        name = pwd.getpwuid(user).pw_name
    except KeyError:
        # In a container, users often have no name.
        name = str(user)
    before = environ.get("SUDO_USER", "")[:_MAX_NAME]
    facts: dict[str, Fact] = {"sudo_user": before} if before.isprintable() and before else {}
    return Actor(name=f"operator:{name}", facts=facts)
