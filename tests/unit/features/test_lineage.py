from features.commits import Commit, Part
from features.lineage import Segment, coalesced, lineage, narrowed, states
from features.watermarks import Watermark


def segment(rows, last, epoch="E", partition="3"):
    return Segment(rows, {partition: (epoch, last, last)} if last else {})


def test_what_no_release_tells_apart_is_joined():
    young = segment(4, "900-0")
    old = [segment(1, "10-0"), segment(2, "20-0"), segment(3, "30-0"), young]
    joined = coalesced(old, [{"3": Watermark("E", "20-0")}], before_ms=500)
    assert joined == [Segment(3, {"3": ("E", "10-0", "20-0")}), segment(3, "30-0"), young]
    assert coalesced(old, [], before_ms=500) == [Segment(6, {"3": ("E", "10-0", "30-0")}), young]


def test_rows_of_files_and_of_another_life_stay_apart():
    told = [segment(1, "10-0"), segment(5, ""), segment(5, ""), segment(2, "20-0"), segment(2, "30-0", epoch="F")]
    joined = coalesced(told, [], before_ms=500)
    assert joined == [segment(1, "10-0"), segment(10, ""), segment(2, "20-0"), segment(2, "30-0", epoch="F")]


def test_it_is_read_back_from_the_commits():
    drained = Commit(1, (Part("a", 2, 1, ""), Part("b", 1, 1, "")), meta={
        "journal": {"3": ["E", "1-0", "2-0"]}, "late": ["b"],
    })  # fmt: skip
    loaded = Commit(2, (Part("c", 7, 1, ""),))
    told = {"a": (Segment(2, {"3": ("E", "1-0", "2-0")}),), "b": (Segment(1, {}),), "c": (Segment(7, {}),)}
    assert lineage([drained, loaded]) == told
    merged = Commit(3, (Part("d", 10, 1, ""),), ("a", "b", "c"), 2, meta=states({"d": told["a"] + told["c"]}))
    assert lineage([merged])["d"] == told["a"] + told["c"]


def test_a_part_rewritten_without_some_rows_keeps_the_ranges_of_the_others():
    told = [segment(2, "10-0"), segment(1, "20-0"), segment(2, "")]
    assert narrowed(told, [True, False, False, True, True]) == [segment(1, "10-0"), segment(2, "")]
