import pytest
from typer.main import get_command

from features.errors import (
    ArtifactCorrupt,
    ChecksFailed,
    ContractError,
    GateRefused,
    PondError,
    ReleaseError,
    ServiceUnreachable,
    StorageFull,
    UnknownShop,
    UnreadableFile,
    UsageError,
)
from pond.cli import main as line
from pond.cli.main import exit_code, hoisted, main
from pond.cli.session import Session


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), 2), (UnknownShop("x"), 2), (ContractError("t", "c", "r"), 3), (UnreadableFile("f", "w"), 3),
        (ChecksFailed("t", "", "r"), 3), (StorageFull("x"), 3), (GateRefused("x"), 4), (ReleaseError("x"), 5),
        (ArtifactCorrupt("f", "w"), 5), (ServiceUnreachable("x"), 6), (PondError("x"), 1),
    ],
)  # fmt: skip
def test_each_kind_of_failure_has_its_exit_code(error, code):
    assert exit_code(error) == code


def test_options_of_every_command_may_stand_anywhere():
    assert hoisted(["ingest", "--shop", "a", "--home", "h", "--quiet"]) == [
        "--home",
        "h",
        "--quiet",
        "ingest",
        "--shop",
        "a",
    ]
    assert hoisted(["train", "--home=h", "--", "--debug"]) == ["--home=h", "train", "--", "--debug"]
    assert hoisted(["shop", "list", "--home"]) == ["--home", "shop", "list"]


def test_the_command_line_goes_before_the_environment_before_the_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    env = {"POND_HOME": "/e", "PATH": "p", "POND_PORT": "1"}
    assert str(Session.of(tmp_path / "c", env).home) == str(tmp_path / "c")
    assert str(Session.of(None, env).home) == "/e"
    assert Session.of(None, {}).home == tmp_path / "var"
    assert Session.of(None, env).environ == {"POND_HOME": "/e", "POND_PORT": "1"}


def test_a_shop_is_created_listed_and_not_created_twice(tmp_path, capsys):
    assert main(["shop", "list", "--home", str(tmp_path)]) == 0
    assert "pond shop create NAME" in capsys.readouterr().out
    assert main(["shop", "create", "tea", "--timezone", "Asia/Tokyo", "--home", str(tmp_path)]) == 0
    assert main(["--home", str(tmp_path), "shop", "list"]) == 0
    assert "Asia/Tokyo" in capsys.readouterr().out
    assert main(["shop", "create", "tea", "--home", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "pond: The shop 'tea' exists already; choose another name or ingest into it.\n"


@pytest.mark.parametrize(
    "words",
    [
        ["shop", "create", "../up"], ["shop", "create", "tea", "--timezone", "Mars/Olympus"], ["nonsense"],
        ["releases", "--shop", "no"], ["ingest", "--shop", "no"], ["shop", "create"], ["ingest"],
        ["shop", "list", "--wrong"],
        ["ingest", "--shop", "tea", "--events", "nowhere.csv"],
        ["train", "--shop", "no"], ["check", "--shop", "no"],
    ],
)  # fmt: skip
def test_a_wrong_question_is_one_sentence_and_exit_2(words, tmp_path, capsys):
    assert main([*words, "--home", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("pond: ")
    assert said.count("\n") == 1


def test_a_bug_is_one_sentence_and_a_kept_traceback(tmp_path, capsys, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("half of nothing")

    monkeypatch.setattr("features.shop.list_shops", broken)
    assert main(["shop", "list", "--home", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "ZeroDivisionError: half of nothing" in said
    kept = next((tmp_path / "logs").iterdir())
    assert str(kept) in said
    assert "half of nothing" in kept.read_text()
    assert "Traceback" in kept.read_text()


def test_debug_shows_the_traceback(tmp_path, capsys):
    assert main(["releases", "--shop", "no", "--home", str(tmp_path), "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_help_lists_the_commands_that_exist(capsys):
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    wanted = "shop keys ingest check train evaluate recommend releases promote rollback serve doctor demo"
    assert [word for word in wanted.split() if word not in said] == []


def test_every_command_of_the_public_contract_explains_itself(capsys):
    for name in (
        "ingest",
        "check",
        "train",
        "evaluate",
        "recommend",
        "releases",
        "promote",
        "rollback",
        "serve",
        "demo",
    ):
        assert main([name, "--help"]) == 0
        assert "Usage" in capsys.readouterr().out


def commands(group, before=()):
    """Every command below a group with the words that call it."""
    for name, command in group.commands.items():
        words = (*before, name)
        yield words, command
        yield from commands(command, words) if hasattr(command, "commands") else ()


@pytest.mark.parametrize(
    ("words", "command"), [(w, c) for w, c in commands(get_command(line.app))], ids=lambda x: str(x)[:40]
)
def test_help_shows_every_text_whole(words, command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert main([*words, "--help"]) == 0
    shown = "".join(capsys.readouterr().out.replace("│", "").split())
    for told in (command.help or "", *(getattr(p, "help", None) or "" for p in command.params)):
        assert "".join(told.replace("\\[", "[").split()) in shown
    if words == ("train",):
        assert "[training],[sources.…],[scenes.…]" in shown


def test_a_release_that_is_not_there_is_exit_5(tmp_path, capsys):
    main(["shop", "create", "tea", "--home", str(tmp_path)])
    assert main(["promote", "r9", "--shop", "tea", "--home", str(tmp_path)]) == 5
    assert main(["rollback", "--shop", "tea", "--home", str(tmp_path)]) == 5
    assert main(["releases", "--shop", "tea", "--home", str(tmp_path)]) == 0
    assert "No release of tea yet" in capsys.readouterr().out


def test_exit_codes_stand_in_one_place():
    assert {kind for kind, _ in line.EXIT_CODES} >= {UsageError, ContractError, GateRefused, ReleaseError}


@pytest.mark.parametrize(("words", "named"), [(["--k", "ten"], "--k 'ten'"), (["--protocol", "coin"], "--protocol")])
def test_a_mistaken_option_of_evaluate_is_named_and_exit_2(tmp_path, capsys, words, named):
    main(["shop", "create", "tea", "--home", str(tmp_path)])
    assert main(["evaluate", "--shop", "tea", "--home", str(tmp_path), *words]) == 2
    assert named in capsys.readouterr().err
