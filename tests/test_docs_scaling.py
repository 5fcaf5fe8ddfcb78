"""What docs/scaling.md tells to type, and where it points to."""

import json
import re
import shlex
import subprocess
import sys
from configparser import ConfigParser
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]  # it makes its methods as it is started
import pytest
import s3_storage_provider  # type: ignore[import-untyped]  # it has no types
import yaml
from botocore.exceptions import ClientError  # type: ignore[import-untyped]  # the same
from botocore.stub import Stubber  # type: ignore[import-untyped]  # the same
from signedjson.key import generate_signing_key, write_signing_keys
from synapse.config.homeserver import HomeServerConfig
from synapse.config.server import TCPListenerConfig
from twisted.internet.defer import Deferred
from typer.main import get_command

from lalepass_service.cli import main
from lalepass_service.config import Config
from tests.docker.scale.losses import table

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
LINES = [
    line
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
]
OURS = sorted(
    {line.partition("#")[0].strip() for line in LINES if line.startswith("lalepass ")}
    | {found.strip() for found in re.findall(r"`(lalepass [a-z-]+ [a-z-][^`]*)`", PAGE)}
)


def blocks(language: str) -> list[str]:
    return [str(block) for block in re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)]


@pytest.mark.parametrize("line", OURS)
def test_what_it_types_for_lalepass_is_a_command_with_these_options(line: str) -> None:
    command: Any = get_command(main.app)
    words = shlex.split(line)[1:]
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    options = {name for each in command.params for name in each.opts}

    assert [word for word in words if word.startswith("--") and word not in options] == []


def test_it_types_something_for_lalepass() -> None:
    assert {"lalepass user import first.jsonl", "lalepass db status"} <= set(OURS)


@pytest.mark.parametrize("program", ["synapse_port_db"])
def test_what_it_types_for_synapse_has_these_options(program: str) -> None:
    lines = [line for line in LINES if line.startswith(program)]
    named = {word for line in lines for word in shlex.split(line) if word.startswith("--")}
    done = subprocess.run(
        [sys.executable, "-m", f"synapse._scripts.{program}", "--help"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert named
    assert [option for option in named if option not in done.stdout] == []


def test_its_configuration_is_yaml_and_of_the_service() -> None:
    sections = {name for block in blocks("yaml") for name in yaml.safe_load(block)}
    (toml,) = blocks("toml")
    named = set(re.findall(r"^(\w+) =", toml, re.MULTILINE))
    database = Config.model_fields["database"].annotation

    assert {"database", "redis", "instance_map", "media_storage_providers"} <= sections
    assert database is not None
    assert named <= set(database.model_fields)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in: Synapse makes one for media where it reads its configuration."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("elsewhere")
def test_what_reads_one_file_only_is_told_the_name_of_the_server() -> None:
    """Debian's packages have it in another one."""
    section = PAGE.partition("### M3: SQLite to PostgreSQL\n")[2].partition("\n### ")[0]
    (block,) = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)

    with pytest.raises(KeyError, match="server_name"):
        HomeServerConfig().parse_config_dict(yaml.safe_load(block), "", "")
    assert "**Add `server_name`**" in section


@pytest.fixture
def installed(elsewhere: Path) -> Path:
    """/etc/matrix-synapse of the page at the end of M4, in the place of /etc."""
    there = elsewhere / "matrix-synapse"
    section = PAGE.partition("### M4: Redis and workers\n")[2].partition("\n### ")[0]
    of_all, of_one = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    (there / "workers").mkdir(parents=True)
    (there / "conf.d").mkdir()
    for name, value in (("server_name", "example.org"), ("report_stats", "false")):
        (there / "conf.d" / f"{name}.yaml").write_text(f"{name}: {value}\n")
    own = f"database: {{name: psycopg2}}\nsigning_key_path: {there}/signing.key\n"
    for path, text in (
        (there / "homeserver.yaml", of_all + own),
        (there / "workers" / "worker1.yaml", of_one),
        (there / "redis-password", "of-redis\n"),
        (there / "replication-secret", "of-workers\n"),
    ):
        path.write_text(text.replace("/etc/", f"{elsewhere}/"))
    with (there / "signing.key").open("w") as file:
        write_signing_keys(file, [generate_signing_key("a_1")])
    return there


def test_the_worker_of_the_page_reads_the_files_of_the_page(installed: Path) -> None:
    (text,) = blocks("ini")
    unit = ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # systemd minds capitals
    unit.read_string(text.replace("\\\n", ""))
    python, dash_m, module, *arguments = (
        unit["Service"]["ExecStart"]
        .replace("%i", "worker1")
        .replace("/etc/matrix-synapse", str(installed))
        .split()
    )

    config = HomeServerConfig.load_config("Synapse worker", arguments)

    assert (python, dash_m) == ("/opt/venvs/matrix-synapse/bin/python", "-m")
    assert find_spec(module) is not None
    assert config.worker.worker_app == module
    assert config.worker.worker_name == "worker1"
    assert config.worker.worker_replication_secret == "of-workers"
    assert config.redis.redis_password == "of-redis"
    assert config.worker.instance_map["master"].netloc() == "10.0.0.1:9093"
    # A port that everybody reaches lets everybody say where they come from.
    (listener,) = config.worker.worker_listeners
    assert isinstance(listener, TCPListenerConfig)
    assert listener.bind_addresses == ["10.0.0.2"]


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)]+)\)", PAGE))))
def test_where_it_points_to_is_there(link: str) -> None:
    if link.startswith("https://"):
        return
    file, _, anchor = link.partition("#")
    text = (ROOT / "docs" / file).read_text(encoding="utf-8") if file else PAGE
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}

    assert not anchor or anchor in anchors


def test_each_step_says_how_it_is_checked_undone_and_noticed() -> None:
    steps = re.findall(r"^### (M\d: .*?)\n(.*?)(?=^##)", PAGE, re.MULTILINE | re.DOTALL)

    assert len(steps) == 9
    for name, text in steps:
        for point in ("* **Check**: ", "* **Way back**: ", "* **Downtime**: "):
            assert point in text, f"{name}: {point}"


def test_what_people_notice_is_what_the_containers_are_tested_for() -> None:
    (there,) = re.findall(
        r"<!-- tests/docker/scale/losses.py: the table -->\n(.*?)<!-- end -->", PAGE, re.DOTALL
    )

    assert there == table()


# What a call of boto3's takes, from Amazon's reference of S3.
RIGHTS = {
    "head_bucket": {"s3:ListBucket"},
    "head_object": {"s3:GetObject"},
    "get_object": {"s3:GetObject"},
    # In parts if it is long: those are given up if one can't be sent.
    "upload_file": {"s3:PutObject", "s3:AbortMultipartUpload"},
}
# What turns 403 into 404 for what is not there.
TO_KNOW_WHAT_IS_NOT = {"s3:ListBucket"}
UPLOAD = Path(sys.executable).parent / "s3_media_upload"


def called() -> set[str]:
    """The calls of S3 in all programs that have the key."""
    text = "".join(
        path.read_text(encoding="utf-8")
        for path in (
            Path(s3_storage_provider.__file__),
            UPLOAD,
            ROOT / "deploy" / "synapse" / "media_cleaner.py",
        )
    )
    verbs = "head|get|put|delete|list|copy|create|upload|download|complete|abort"
    return set(re.findall(rf"\.((?:{verbs})_(?:object|bucket|file|multipart|part)\w*)\b", text))


def test_the_policy_of_amazons_is_what_the_programs_need_and_no_more() -> None:
    (text,) = blocks("json")
    policy = json.loads(text)
    given = {each["Resource"]: set(each["Action"]) for each in policy["Statement"]}

    assert called() == RIGHTS.keys()
    of_objects = set().union(*RIGHTS.values()) - {"s3:ListBucket"}
    # Ours puts, sees, reads and deletes one of its own.
    assert given == {
        "arn:aws:s3:::matrix-media": TO_KNOW_WHAT_IS_NOT,
        "arn:aws:s3:::matrix-media/*": of_objects,
        "arn:aws:s3:::matrix-media/lalepass-topology-*": {"s3:DeleteObject"},
    }
    assert {each["Effect"] for each in policy["Statement"]} == {"Allow"}
    ours = (ROOT / "service/lalepass_service/topology/s3.py").read_text(encoding="utf-8")
    assert "/lalepass-topology-{" in ours
    assert set(re.findall(r'"(GET|PUT|HEAD|DELETE|POST)"', ours)) == {
        *("PUT", "HEAD", "GET", "DELETE"),
    }


@pytest.mark.parametrize(
    ("status", "code", "found"), [(404, "NoSuchKey", "nothing"), (403, "AccessDenied", "failure")]
)
def test_what_the_provider_makes_of_a_file_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, status: int, code: str, found: str
) -> None:
    client = boto3.client(
        "s3",
        region_name="eu-central-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
    )
    ended: list[str] = []
    answer = Deferred[object]()
    answer.addCallbacks(
        lambda there: ended.append("nothing" if there is None else "a file"),
        lambda failed: ended.append("failure" if failed.check(ClientError) else "another"),
    )
    monkeypatch.setattr(
        s3_storage_provider.reactor, "callFromThread", lambda does, *args: does(*args)
    )
    with Stubber(client) as stub:
        stub.add_client_error("get_object", code, http_status_code=status)
        s3_storage_provider.s3_download_task(client, "matrix-media", "a/b", {}, answer)

    assert ended == [found]
