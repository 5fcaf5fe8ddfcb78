"""A real Synapse with the provider in its `homeserver.yaml`: for the demo and for tests."""

import base64
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import yaml

from tools.files import keep_private, write_private
from tools.processes import LOOPBACK, Process

# Synapse allows five logins in a row and then one in five minutes. Who tries things out wants to
# see what Lalepass answers, not that.
_GENEROUS: Final = {"per_second": 1000, "burst_count": 1000}
_LOGIN_LIMITS: Final = {
    "address": _GENEROUS,
    "account": _GENEROUS,
    "failed_attempts": _GENEROUS,
}


@dataclass(frozen=True, kw_only=True)
class SynapseConfig:
    """A homeserver on SQLite and loopback that federates with nobody and registers nobody."""

    directory: Path
    """Gets all its files: configuration, keys, database, media, log."""
    port: int
    service_url: str
    token_path: Path
    server_name: str = "localhost"
    log_level: str = "INFO"
    module_options: Mapping[str, object] = field(default_factory=dict)
    """Further options of the provider, on top of `url` and `token_path`."""
    extra: Mapping[str, object] = field(default_factory=dict)
    """Top-level keys of `homeserver.yaml`, each in place of the one given here."""
    python: str = sys.executable
    """The interpreter that has the wanted release of Synapse."""

    @property
    def path(self) -> Path:
        """Where `homeserver.yaml` is."""
        return self.directory / "homeserver.yaml"

    @property
    def log(self) -> Path:
        """Where Synapse's log is, with whatever it prints before it logs."""
        return self.directory / "homeserver.log"

    @property
    def address(self) -> str:
        """Where clients reach it."""
        return f"http://{LOOPBACK}:{self.port}"

    def write(self) -> Path:
        """Write `homeserver.yaml` and what it names. Keys that are there are kept."""
        self.directory.mkdir(parents=True, exist_ok=True)
        keep_private(self._file("signing.key"), _signing_key())
        write_private(self._file("log.yaml"), _yaml(self._logging()))
        write_private(self.path, _yaml({**self._homeserver(), **self.extra}))
        return self.path

    def process(self) -> Process:
        """Return the process that serves this configuration, not yet started."""
        return Process(
            name="Synapse",
            command=[self.python, "-m", "synapse.app.homeserver", "-c", str(self.path)],
            log=self.log,
            health_url=f"{self.address}/health",
        )

    def _file(self, name: str) -> Path:
        return self.directory / name

    def _secret(self, name: str) -> str:
        return keep_private(self._file(name), secrets.token_urlsafe(32))

    def _homeserver(self) -> dict[str, object]:
        return {
            "server_name": self.server_name,
            "public_baseurl": f"http://localhost:{self.port}/",
            "report_stats": False,
            "listeners": [
                {
                    "type": "http",
                    "port": self.port,
                    "bind_addresses": [LOOPBACK],
                    "resources": [{"names": ["client"], "compress": False}],
                }
            ],
            "database": {
                "name": "sqlite3",
                "args": {"database": str(self._file("homeserver.db"))},
            },
            "log_config": str(self._file("log.yaml")),
            "media_store_path": str(self._file("media")),
            "pid_file": str(self._file("homeserver.pid")),
            "signing_key_path": str(self._file("signing.key")),
            "macaroon_secret_key": self._secret("macaroon-secret"),
            "form_secret": self._secret("form-secret"),
            "trusted_key_servers": [],
            "federation_domain_whitelist": [],
            "enable_registration": False,
            "password_config": {"enabled": True, "localdb_enabled": False},
            "rc_login": _LOGIN_LIMITS,
            "modules": [
                {
                    "module": "lalepass_provider.LalepassProvider",
                    "config": {
                        # `urls` among the options takes its place.
                        **({} if "urls" in self.module_options else {"url": self.service_url}),
                        "token_path": str(self.token_path),
                        **self.module_options,
                    },
                }
            ],
        }

    def _logging(self) -> dict[str, object]:
        # To standard error, and so into the one file that also has what is printed before that.
        return {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "line": {"format": "%(asctime)s %(levelname)s %(name)s %(request)s %(message)s"}
            },
            "filters": {
                "context": {"()": "synapse.logging.context.LoggingContextFilter", "request": ""}
            },
            "handlers": {
                "console": {
                    "class": "logging.StreamHandler",
                    "formatter": "line",
                    "filters": ["context"],
                }
            },
            "root": {"level": self.log_level, "handlers": ["console"]},
        }


def _yaml(content: Mapping[str, object]) -> str:
    text: str = yaml.safe_dump(content, sort_keys=False)
    return text


def _signing_key() -> str:
    # The form that signedjson reads: algorithm, version, seed in base64 without padding.
    seed = base64.b64encode(secrets.token_bytes(32)).decode().rstrip("=")
    return f"ed25519 a_{secrets.token_hex(2)} {seed}\n"
