"""A Synapse module that lets a Lalepass service check every password.

In `homeserver.yaml`, under `modules:`, it is `lalepass_provider.LalepassProvider`.
"""

from lalepass_provider.module import LalepassProvider

__all__ = ["LalepassProvider"]
