import pytest

from features.commits import Commit
from features.errors import ArtifactCorrupt, ReleaseError
from features.watermarks import Watermark, ranges_meta, watermarks
from service.journal import EntryType, decode, encode, id_key, lowest, partition_of


def test_an_entry_comes_back_without_its_unknown_fields():
    body = encode(EntryType.product, {"product_id": "p/ 1 😀", "price": 2.5, "title": None})
    entry = decode(b"5-1", {b"j": body})
    assert (entry.id, entry.type, entry.row) == ("5-1", EntryType.product, {"product_id": "p/ 1 😀", "price": 2.5})


def test_equal_rows_have_equal_bytes_whatever_their_order():
    assert encode(EntryType.product, {"title": "a", "price": 1.0}) == encode(
        EntryType.product, {"price": 1.0, "title": "a"}
    )


def test_a_column_the_lake_does_not_have_is_refused_at_once():
    with pytest.raises(ValueError, match="colour"):
        encode(EntryType.product, {"product_id": "p", "colour": "red"})


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b'{"v":1,"t":"nothing","row":{}}'])
def test_what_this_version_did_not_write_is_refused(body):
    with pytest.raises(ArtifactCorrupt, match="7-0"):
        decode(b"7-0", {b"j": body})


def test_an_entry_of_a_newer_pond_is_refused_with_what_to_do():
    with pytest.raises(ReleaseError, match="upgrade Pond"):
        decode(b"7-0", {b"j": b'{"v":99,"t":"event","row":{}}'})


def test_ids_are_ordered_as_numbers():
    assert sorted(["10-0", "9-11", "9-2"], key=id_key) == ["9-2", "9-11", "10-0"]


def test_partitions_never_move():
    assert [partition_of(customer, 16) for customer in ("a", "b", "顾客")] == ["0", "4", "7"]


def test_the_last_commit_of_a_partition_is_its_watermark():
    commits = [
        Commit(1, (), meta=ranges_meta({"0": ("e1", "1-0", "4-0"), "1": ("e1", "1-0", "2-0")})),
        Commit(2, (), meta={}),
        Commit(3, (), meta=ranges_meta({"0": ("e2", "9-0", "9-5")})),
    ]
    assert watermarks(commits) == {"0": Watermark("e2", "9-5"), "1": Watermark("e1", "2-0")}


def test_only_what_every_release_has_taken_in_may_be_trimmed():
    one = {"0": Watermark("e", "5-0"), "1": Watermark("e", "5-0"), "2": Watermark("old", "1-0")}
    two = {"0": Watermark("e", "10-0"), "2": Watermark("e", "2-0")}
    assert lowest([one, two]) == {"0": Watermark("e", "5-0")}
    assert lowest([]) == {}
