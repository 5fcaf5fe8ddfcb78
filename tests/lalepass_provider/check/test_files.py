"""Files are put together as Synapse does it, and never quoted."""

from pathlib import Path

import pytest
from synapse.config._base import find_config_files, read_config_files

from lalepass_provider.check.files import Configuration, Unreadable, read
from lalepass_provider.check.finding import Severity
from tests.lalepass_provider.check.found import names, only

HEAD = "server_name: hs.example\nreport_stats: false\n"


def written(folder: Path, **texts: str) -> list[Path]:
    paths = []
    for name, text in texts.items():
        path = folder / f"{name}.yaml"
        path.write_text(text)
        paths.append(path)
    return paths


def both(paths: list[Path]) -> Configuration:
    """Read it, and hold it against what Synapse makes of the same files."""
    configuration = read(paths)
    of_synapse = read_config_files(find_config_files(list(map(str, paths))))
    assert configuration.values == of_synapse
    return configuration


def test_one_file(tmp_path: Path) -> None:
    assert names(both(written(tmp_path, a=HEAD)).findings) == []


def test_a_later_file_replaces_whole_sections(tmp_path: Path) -> None:
    paths = written(
        tmp_path,
        a=f"{HEAD}modules: [{{module: a.A}}]\npassword_config: {{enabled: true, pepper: x}}\n",
        b="modules: [{module: b.B}]\npassword_config: {localdb_enabled: false}\nrc_message: {}\n",
    )
    configuration = both(paths)

    assert names(configuration.findings) == ["replaced-section", "replaced-section"]
    assert configuration.files["modules"] == paths[1]
    assert configuration.files["server_name"] == paths[0]
    assert configuration.findings[0].option == "modules"


def test_what_does_not_concern_us_may_be_replaced(tmp_path: Path) -> None:
    paths = written(tmp_path, a=f"{HEAD}listeners: []\n", b="listeners: []\n")

    assert names(both(paths).findings) == []


def test_a_folder_is_its_yaml_files_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "conf.d"
    (folder / "below").mkdir(parents=True)
    written(folder, b="x: 2\ny: 2\n", a=f"{HEAD}x: 1\n")
    (folder / "c.yml").write_text("x: 3")
    (folder / "below" / "d.yaml").write_text("x: 4")

    assert both([folder]).values["x"] == 2


def test_an_empty_file_is_ignored_and_named(tmp_path: Path) -> None:
    assert names(both(written(tmp_path, a=HEAD, b="# nothing\n")).findings) == ["empty-file"]


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("modules: []\nmodules: []\n", "modules"),
        ("password_config: {enabled: true, enabled: false}\n", "password_config.enabled"),
        ("modules:\n- module: a\n  config: {url: a, url: b}\n", "modules[0].config.url"),
    ],
)
def test_an_option_that_stands_twice_is_found(tmp_path: Path, text: str, option: str) -> None:
    finding = only(both(written(tmp_path, a=HEAD + text)).findings, "repeated-option")

    assert (finding.severity, finding.option) == (Severity.ERROR, option)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"token: {canary: [\n", "this is no YAML"),
        (b"a: canary\n b: canary: c\n", "this is no YAML"),
        (b"token: canary\n\tx: y\n", "line 2, column 1: this is no YAML"),
        (b"a: !!python/object:canary.Canary {}\n", "this is no YAML"),
        (b"a: *canary\n", "this is no YAML"),
        (b"canary: \xff\n", "is not UTF-8"),
        (b"canary: \x00\n", "is no YAML"),
        (b"[" * 5000, "no YAML"),
        (b"", "there are no options"),
        (b"- canary\n", "there are no options"),
    ],
    ids=range(10),
)
def test_what_can_not_be_read_is_told_and_not_quoted(
    tmp_path: Path, content: bytes, sentence: str
) -> None:
    path = tmp_path / "homeserver.yaml"
    path.write_bytes(content)

    with pytest.raises(Unreadable, match=sentence) as told:
        read([path])

    assert "canary" not in str(told.value)
    assert told.value.__cause__ is None


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match=r"none\.yaml can't be read: No such file"):
        read([tmp_path / "none.yaml"])


def test_a_file_without_an_end_is_not_read_to_it() -> None:
    with pytest.raises(Unreadable, match="too long"):
        read([Path("/dev/zero")])
