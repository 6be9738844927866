import stat

import pytest

from features.errors import UsageError
from features.masking import KEY_FILE, Mask, without_secrets
from pond.cli.main import _fit_to_send, main
from service.schemas import RecommendRequest

KEY = "pond_0123456789ab_" + "ab" * 32


def trace_of(home, act):
    try:
        act()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is to be told
        return Mask.of(home).trace(error)
    raise AssertionError("nothing was raised")


def test_a_stand_in_matches_itself_and_tells_nothing(tmp_path):
    mask, again, elsewhere = Mask.of(tmp_path), Mask.of(tmp_path), Mask.of(tmp_path / "other")
    assert mask.stand_in("ann") == again.stand_in("ann") != mask.stand_in("bob")
    assert mask.stand_in("ann") != elsewhere.stand_in("ann")
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "other").iterdir()] == [KEY_FILE]
    assert str(mask.key) not in repr(mask)


def test_a_home_that_cannot_be_written_is_masked_all_the_same(tmp_path):
    (tmp_path / "file").write_text("")
    assert len(Mask.of(tmp_path / "file").stand_in("ann")) == 13


def test_keys_headers_and_passwords_are_cut_out():
    text = f"key {KEY}, Authorization: Bearer {KEY}, redis://user:pass@host:1/0"
    said = without_secrets(text)
    assert "ab" * 32 not in said
    assert "pass" not in said
    assert "host:1" in said


@pytest.mark.parametrize("who", ["tea-1", "微信", "13800138000", "it's"])
def test_a_traceback_names_the_line_and_not_the_person(tmp_path, who):
    def inner():
        return {}[who]

    def outer():
        try:
            inner()
        except KeyError as error:
            raise ValueError(f"no such customer: {who!r}") from error

    said = trace_of(tmp_path, outer)
    assert "return {}[who]" in said
    assert "builtins.KeyError" in said
    assert "builtins.ValueError" in said
    assert who not in said


def test_the_validators_input_is_masked(tmp_path):
    asked = {"customer_id": "ann", "k": "secret person"}
    said = trace_of(tmp_path, lambda: RecommendRequest.model_validate(asked))
    assert "secret person" not in said


def test_our_own_sentences_stay_readable(tmp_path):
    def refuse():
        raise UsageError("The shop 'tea' has 16 partitions; set POND_PARTITIONS=16.")

    assert "The shop 'tea' has 16 partitions" in trace_of(tmp_path, refuse)


def test_the_file_about_a_bug_can_be_sent_to_us(tmp_path, monkeypatch):
    message = f"the key {KEY} of 'ann'"

    def broken(*_, **__):
        raise ZeroDivisionError(message)

    monkeypatch.setattr("features.shop.list_shops", broken)
    assert main(["shop", "list", "--home", str(tmp_path)]) == 1
    said = next((tmp_path / "logs").iterdir()).read_text()
    assert "pond" in said
    assert "ab" * 32 not in said
    assert "ann" not in said


def test_the_customer_of_a_command_is_masked_in_the_file_about_a_bug(tmp_path):
    for words in (["export", "--customer", "ann", "--shop", "tea"], ["export", "--customer=ann", "--shop", "tea"]):
        said = _fit_to_send(words, Mask.of(tmp_path))
        assert "ann" not in said
        assert "tea" in said
