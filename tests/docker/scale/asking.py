"""What the tests ask the parts of the profile `scale`, each from where it may be asked."""

import json
import time
from typing import Any, Final

from tests.docker.stack import CommandFailed, Stack, docker

REPLICAS: Final = ("lalepass-1", "lalepass-2")

# As a homeserver does: with its token and its certificate, over TLS that is verified.
_ASK: Final = """
import json, ssl, sys, urllib.error, urllib.request
replica, path, body, shown = json.load(sys.stdin)
context = ssl.create_default_context(cafile='/secrets/homeserver/ca.crt')
if shown['certificate']:
    own = '/secrets/homeserver/homeserver'
    context.load_cert_chain(own + '.crt', own + '.key')
headers = {'Content-Type': 'application/json'}
if shown['token']:
    headers['Authorization'] = 'Bearer ' + open('/secrets/homeserver/token').read().strip()
content = None if body is None else json.dumps(body).encode()
request = urllib.request.Request(f'https://{replica}:8220{path}', content, headers)
try:
    with urllib.request.urlopen(request, context=context, timeout=20) as answer:
        status, said = answer.status, answer.read().decode()
except urllib.error.HTTPError as refusal:
    status, said = refusal.code, refusal.read().decode()
print(json.dumps([status, said]))
"""


def ask(
    stack: Stack,
    replica: str,
    path: str,
    body: object = None,
    *,
    token: bool = True,
    certificate: bool = True,
) -> tuple[int, str]:
    """Ask a replica of Lalepass, and return the status and the body.

    Raises:
        CommandFailed: it does not listen.
    """
    shown = {"token": token, "certificate": certificate}
    question = json.dumps([replica, path, body, shown])
    run = ("exec", "-T", "caller", "python", "-c", _ASK)
    status, said = json.loads(stack.compose(*run, stdin=question))
    return status, said


def check(stack: Stack, replica: str, user: str, password: str) -> str:
    """Check a password; return `accepted`, why not, or the status of what is no answer."""
    body = {"identifier": {"kind": "user", "localpart": user}, "password": password}
    status, said = ask(stack, replica, "/v1/credentials/check", body)
    if status != 200:
        return str(status)
    answer = json.loads(said)
    return str(answer.get("reason", answer["result"]))


def metric(stack: Stack, replica: str, name: str) -> float:
    """Return the sum of what a replica says of a metric."""
    _, said = ask(stack, replica, "/metrics")
    lines = [line for line in said.splitlines() if line.split("{")[0].split(" ")[0] == name]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def sql(stack: Stack, server: str, query: str) -> str:
    """Ask one of the two PostgreSQL, as who may do everything there."""
    psql = ("psql", "-X", "-q", "-A", "-t", "-U", "postgres", "-c", query)
    return stack.compose("exec", "-T", server, *psql).strip()


def role(stack: Stack, server: str) -> str:
    """Return what a server is: `primary`, `standby` or, if it does not answer, `away`."""
    try:
        recovering = sql(stack, server, "SELECT pg_is_in_recovery()")
    except CommandFailed:
        return "away"
    return {"t": "standby", "f": "primary"}[recovering]


def streams(stack: Stack, primary: str) -> bool:
    """Whether a primary has a standby that follows it."""
    try:
        return sql(stack, primary, "SELECT state FROM pg_stat_replication") == "streaming"
    except CommandFailed:
        return False


def health(stack: Stack, service: str) -> str:
    """Return what the health check of a service has found."""
    return str(stack.inspect(service)["State"]["Health"]["Status"])


def log(stack: Stack, service: str) -> str:
    """Return the log of a service, also of the containers that it had before a restart."""
    return docker("logs", stack.container(service), errors=True)


def until_it_says(stack: Stack, service: str, words: str, *, seconds: float, seen: int = 0) -> None:
    """Wait until its log has these words more often than they were seen before."""
    end = time.monotonic() + seconds
    while log(stack, service).count(words) <= seen:
        assert time.monotonic() < end, f"{service} has not said {words!r} within {seconds} s"
        time.sleep(0.3)  # noqa: TID251 - the fact is in another container


def facts(stack: Stack, service: str) -> Any:
    """Return the settings that a container has from its engine."""
    return stack.inspect(service)["HostConfig"]
