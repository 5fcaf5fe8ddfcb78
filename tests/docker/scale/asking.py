"""What the tests ask the parts of the profile `scale`, each from where it may be asked."""

import json
import time
from collections.abc import Sequence
from typing import Final

from tests.docker.stack import CommandFailed, Stack, docker

REPLICAS: Final = ("lalepass-1", "lalepass-2")

# As a homeserver does: with its token and its certificate, over TLS that is verified. To be started
# costs much more than a question, so there may be several.
_ASK: Final = """
import json, ssl, sys, urllib.error, urllib.request
questions, shown = json.load(sys.stdin)
context = ssl.create_default_context(cafile='/secrets/homeserver/ca.crt')
if shown['certificate']:
    own = '/secrets/homeserver/homeserver'
    context.load_cert_chain(own + '.crt', own + '.key')
headers = {'Content-Type': 'application/json'}
if shown['token']:
    headers['Authorization'] = 'Bearer ' + open('/secrets/homeserver/token').read().strip()
answers = []
for replica, path, body in questions:
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f'https://{replica}:8220{path}', content, headers)
    try:
        with urllib.request.urlopen(request, context=context, timeout=20) as answer:
            answers.append([answer.status, answer.read().decode()])
    except urllib.error.HTTPError as refusal:
        answers.append([refusal.code, refusal.read().decode()])
print(json.dumps(answers))
"""

Question = tuple[str, str, object]
"""Which replica, which path, and the body of a POST or None for a GET."""


def ask_all(
    stack: Stack, questions: Sequence[Question], *, token: bool = True, certificate: bool = True
) -> list[tuple[int, str]]:
    """Ask replicas of Lalepass one after the other, and return each status and body.

    Raises:
        CommandFailed: one does not listen.
    """
    asked = json.dumps([questions, {"token": token, "certificate": certificate}])
    run = ("exec", "-T", "caller", "python", "-c", _ASK)
    return [(status, said) for status, said in json.loads(stack.compose(*run, stdin=asked))]


def ask(
    stack: Stack,
    replica: str,
    path: str,
    body: object = None,
    *,
    token: bool = True,
    certificate: bool = True,
) -> tuple[int, str]:
    """Ask one replica one thing."""
    (answer,) = ask_all(stack, [(replica, path, body)], token=token, certificate=certificate)
    return answer


def check(stack: Stack, user: str, *passwords: str) -> list[str]:
    """Check passwords at the first replica and then at the second.

    Each becomes `accepted`, why not, or the status of what is no answer.
    """
    questions = [
        (
            replica,
            "/v1/credentials/check",
            {"identifier": {"kind": "user", "localpart": user}, "password": password},
        )
        for replica in REPLICAS
        for password in passwords
    ]
    return [_told(status, said) for status, said in ask_all(stack, questions)]


def _told(status: int, said: str) -> str:
    if status != 200:
        return str(status)
    answer = json.loads(said)
    return str(answer.get("reason", answer["result"]))


def metric(stack: Stack, replica: str, name: str) -> float:
    """Return the sum of what a replica says of a metric."""
    _, said = ask(stack, replica, "/metrics")
    lines = [line for line in said.splitlines() if line.split("{")[0].split(" ")[0] == name]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def sql(stack: Stack, server: str, query: str, *, database: str = "postgres") -> str:
    """Ask one of the two PostgreSQL, as who may do everything there."""
    psql = ("psql", "-X", "-q", "-A", "-t", "-U", "postgres", "-d", database, "-c", query)
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
