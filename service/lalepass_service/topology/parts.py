"""The kinds of parts that an installation can have, as the file says them."""

import re
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

MAX_PARTS: Final = 200
_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_ADDRESS: Final = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]{2,45})\]|(?P<name>[A-Za-z0-9._-]{1,253})):(?P<port>[0-9]{1,5})"
)
_HIGHEST: Final = 65535
_A_PATH: Final = r"/[!-~]{0,1023}"


class Section(BaseModel):
    """A table of the file. Each description below completes the sentence "should be ..."."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class Address(NamedTuple):
    """Where something listens."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return it as the file has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def read_address(text: str) -> Address:
    """Return where that is.

    Raises:
        ValueError: it is no address with a port.
    """
    found = _ADDRESS.fullmatch(text)
    if found is None or not 0 < int(found["port"]) <= _HIGHEST:
        raise ValueError("no address")
    return Address(found["six"] or found["name"], int(found["port"]))


def _checked(text: str) -> str:
    read_address(text)
    return text


Name = Annotated[str, Field(pattern=rf"^{_NAME}$")]
_Address = Annotated[str, AfterValidator(_checked)]
_ADDRESS_IS: Final = "a host and a port, such as db1.example.org:5432"


class _Part(Section):
    segments: list[Name] = Field(
        [], max_length=32, description="a list of the names of the networks that it is on"
    )


class _Listening(_Part):
    address: _Address = Field(description=_ADDRESS_IS)
    tls: bool = Field(default=False, description="true or false")

    @property
    def place(self) -> Address:
        """Where it listens."""
        return read_address(self.address)


class Lalepass(_Listening):
    """A replica of the service."""

    kind: Literal["lalepass"]


class Postgres(_Listening):
    """A server of PostgreSQL, a primary or a standby."""

    kind: Literal["postgres"]
    cluster: Name = Field("postgres", description="a name that a primary and its standbys share")


class Valkey(_Listening):
    """A Valkey or Redis."""

    kind: Literal["valkey"]
    policy: str | None = Field(
        None, max_length=32, description="what maxmemory-policy has to be, such as noeviction"
    )


class Synapse(_Listening):
    """A listener of a process of Synapse."""

    kind: Literal["synapse"]
    clients: bool = Field(
        default=True, description="true, or false for one without the resource `client`"
    )


class Proxy(_Listening):
    """What is in front of Synapse's processes."""

    kind: Literal["proxy"]
    says_who: str = Field(
        "X-Served-By",
        pattern=r"^[A-Za-z0-9-]{1,64}$",
        description="the header of its answers that has the name of the part which answered",
    )


class S3(_Listening):
    """A bucket."""

    kind: Literal["s3"]
    bucket: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{1,62}$", description="a bucket's name")
    region: str = Field("us-east-1", pattern=r"^[a-z0-9-]{1,32}$", description="a region's name")


class Prometheus(_Listening):
    """What watches over the others."""

    kind: Literal["prometheus"]


class Http(_Listening):
    """Anything that answers 200 at a path: a listener for metrics, for replication."""

    kind: Literal["http"]
    path: str = Field("/", pattern=rf"^{_A_PATH}$", description="a path, such as /metrics")


class Job(_Part):
    """Something that listens nowhere, or at nothing that is looked at: a nightly job, clients."""

    kind: Literal["job"]


Listening = Lalepass | Postgres | Valkey | Synapse | Proxy | S3 | Prometheus | Http
Part = Annotated[
    Lalepass | Postgres | Valkey | Synapse | Proxy | S3 | Prometheus | Http | Job,
    Field(discriminator="kind"),
]

KINDS: Final[dict[str, type[_Part]]] = {
    "lalepass": Lalepass,
    "postgres": Postgres,
    "valkey": Valkey,
    "synapse": Synapse,
    "proxy": Proxy,
    "s3": S3,
    "prometheus": Prometheus,
    "http": Http,
    "job": Job,
}
