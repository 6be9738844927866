from features.masking import Mask
from service.observe import _masked


def masked(tmp_path, **line):
    return _masked(Mask.of(tmp_path), None, "info", line)


def test_a_line_that_names_a_person_shows_a_stand_in(tmp_path):
    stand_in = Mask.of(tmp_path).stand_in("ann")
    assert masked(tmp_path, event="merged", customer_id="ann", shop="tea") == {
        "event": "merged", "customer_id": stand_in, "shop": "tea",
    }  # fmt: skip


def test_what_libraries_say_is_masked_and_what_we_say_is_not(tmp_path):
    event = "Task failed: KeyError('ann')"
    assert "ann" not in masked(tmp_path, event=event, logger="asyncio")["event"]
    assert masked(tmp_path, event="The shop 'tea' waits", logger="pond.keeper")["event"] == "The shop 'tea' waits"


def test_an_unexpected_error_is_told_without_values(tmp_path):
    person = "ann"
    try:
        {}[person]
    except KeyError as error:
        for told in (True, error, (KeyError, error, error.__traceback__)):
            line = masked(tmp_path, event="unexpected", exc_info=told)
            assert "{}[person]" in line["exception"]
            assert "'ann'" not in line["exception"]
            assert "exc_info" not in line
