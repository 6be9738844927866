"""Who was erased is recognized by digests; a person is taken out of rows that are not only his."""

import json
import stat

import polars as pl
import pytest

from features.contracts import table_named
from features.dataset import build_dataset
from features.erasure import Erased, digest_of, erased_customers, read_erased, write_erased
from features.errors import ArtifactCorrupt, LakeRewritten
from features.lake import Lake
from features.lake_rewrite import rewrite_without
from features.lineage import lineage, of_parts, states
from features.person import Person
from features.scrub import scrub_file
from features.shop import create_shop
from features.watermarks import Watermark, watermarks
from tests import worlds

WHO = "customer-00042"


def erased(*ids, shop="toy", key=b"k" * 32):
    return Erased(shop, key, frozenset(digest_of(key, shop, one) for one in ids))


def test_an_erased_id_is_recognized_in_its_shop_under_its_key_only():
    gone = erased(WHO)
    assert WHO in gone
    assert "customer-00043" not in gone
    assert digest_of(b"k" * 32, "other", WHO) not in gone.digests
    assert digest_of(b"another key", "toy", WHO) not in gone.digests
    assert gone.among([WHO, "x", WHO]) == [WHO, WHO]
    assert WHO not in Erased()


def test_the_shops_copy_is_read_back_holds_no_id_and_belongs_to_its_owner_alone(tmp_path):
    shop = create_shop(tmp_path, "toy", worlds.TIMEZONE)
    assert read_erased(shop) == Erased()
    write_erased(shop, erased(WHO))
    assert read_erased(shop) == erased(WHO)
    path = shop.root / "erased.json"
    assert WHO not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "text", ["", "{", "{}", '{"format_version": 99}', '{"format_version":1,"key":"x","digests":[]}']
)
def test_a_damaged_copy_is_refused_because_guessing_would_bring_people_back(tmp_path, text):
    shop = create_shop(tmp_path, "toy", worlds.TIMEZONE)
    (shop.root / "erased.json").write_text(text)
    with pytest.raises(ArtifactCorrupt):
        read_erased(shop)


def test_who_was_erased_enters_no_dataset():
    tables = worlds.ToyTables({"events": worlds.events([(WHO, "tea", 1), ("ann", "tea", 2)]),
                               "customers": worlds.rows_of("customers", [{"customer_id": WHO}])})  # fmt: skip
    assert erased_customers(tables, erased(WHO)) == [WHO]
    dataset = build_dataset(tables, "toy", worlds.TIMEZONE, erased=erased(WHO))
    assert dataset.customers.ids.texts == ("ann",)
    assert len(dataset.product_events) == 1


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ({"customer_id": "c7"}, {"customer_id": None}),
        ({"size": "c7", "n": 7}, {"size": "c7", "n": 7}),
        ({"friend": WHO, "of": [WHO, "x"]}, {"friend": "(erased)", "of": ["(erased)", "x"]}),
        ({"note": f"met {WHO}."}, {"note": "met (erased)."}),
        ({"note": f"{WHO}1 and {WHO}-2"}, {"note": f"{WHO}1 and {WHO}-2"}),
        ({WHO: 1}, {"(erased)": 1}),
    ],
)
def test_a_shops_own_columns_lose_the_person_and_nothing_that_only_looks_like_him(text, left):
    assert json.loads(Person.of([WHO, "c7"]).unnamed_json(json.dumps(text))) == left


def test_texts_without_the_person_keep_their_bytes():
    text = '{ "b": 1, "a": "x" }'
    assert Person.of([WHO]).unnamed_json(text) == text
    assert Person.of([WHO]).unnamed_json(None) is None
    assert Person.of([WHO]).unnamed_json(f"no json {WHO}") == "no json (erased)"


def row(who, **more):
    return {"customer_id": who, "purpose": "sms", "at": 1, "state": "on", **more}


def frame(*rows):
    return pl.DataFrame(list(rows), schema=table_named("consents").schema)


def test_a_rewrite_keeps_the_others_in_order_and_deletes_the_old_files(tmp_path):
    lake = Lake(tmp_path / "lake")
    lake.append("consents", frame(row("ann"), row(WHO), row("bob")), meta={"journal": {"0": ["e", "1-1", "1-9"]}})
    lake.append("consents", frame(row("cat")))
    lake.append("consents", frame(row(WHO)))
    before = {path.name for path in (tmp_path / "lake/consents").glob("*.parquet")}
    (tmp_path / "lake/consents/part-left-behind.parquet").write_bytes(b"half a part")
    done = rewrite_without(lake, "consents", Person.of([WHO]), fence=False)
    assert (done.removed, done.changed, done.files) == (2, 0, 3)
    assert Lake(lake.root).scan("consents").collect()["customer_id"].to_list() == ["ann", "bob", "cat"]
    after = {path.name for path in (tmp_path / "lake/consents").glob("*.parquet")}
    assert len(after & before) == 1
    assert lake.commits("consents")[0].meta["journal"] == {"0": ["e", "1-1", "1-9"]}
    assert lake.append("consents", frame(row("dan"))).number == 5
    assert lake.rows("consents") == 4


def test_a_rewrite_keeps_for_every_row_from_where_in_the_journal_it_came(tmp_path):
    """A live tail is rebuilt from what lies above a release's watermark, so no row may change sides."""
    lake, people = Lake(tmp_path), ("ann", WHO, "bob")
    spans = {name: {"3": ("E", f"{n}0-0", f"{n}9-0")} for n, name in enumerate(("d0", "d1", "d2", "d3"))} | {"file": {}}

    def told(name, *who):
        meta = {"journal": {p: list(span) for p, span in spans[name].items()}} if spans[name] else {}
        lake.append("consents", frame(*(row(one, purpose=name) for one in who)), meta=meta)

    def merged(made):
        known = lineage(lake.since_base("consents"))
        return states({name: of_parts(group, known) for name, group in made.items()})

    told("d0", *people)
    told("d1", WHO)
    told("file", *people)
    told("d2", WHO, "bob", "ann")
    assert lake.compact("consents", merged)
    told("d3", "ann", "bob")
    for gone, left in ((WHO, 2), ("bob", 1)):
        assert rewrite_without(lake, "consents", Person.of([gone]), fence=True).removed
        known, parts = lineage(lake.since_base("consents")), lake.parts("consents")
        found = [(one.rows, one.ranges) for part in parts for one in known[part.name]]
        assert found == [(left, spans[name]) for name in ("d0", "file", "d2", "d3")]
        rows = lake.scan("consents").collect()
        assert rows["purpose"].to_list() == [name for name in ("d0", "file", "d2", "d3") for _ in range(left)]
    assert watermarks(lake.commits("consents")) == {"3": Watermark("E", "39-0")}


def test_a_rewrite_commits_for_the_fence_even_when_nothing_is_to_be_removed(tmp_path):
    lake = Lake(tmp_path / "lake")
    for table in ("consents", "events"):
        assert rewrite_without(lake, table, Person.of([WHO]), fence=True).removed == 0
        assert lake.last_number(table) == 1
        assert lake.commit_next(table, 1, []) is None
    assert rewrite_without(lake, "products", Person.of([WHO]), fence=False).removed == 0
    assert lake.last_number("products") == 0


def test_a_reader_that_looked_before_the_rewrite_is_told_so(tmp_path):
    lake = Lake(tmp_path / "lake")
    lake.append("consents", frame(row("ann"), row(WHO)))
    (old,) = lake.parts("consents")
    rewrite_without(Lake(lake.root), "consents", Person.of([WHO]), fence=False)
    with pytest.raises(LakeRewritten, match="run the command again"):
        lake.scan_part("consents", old)
    (new,) = lake.parts("consents")
    (lake.root / "consents" / new.name).unlink()
    with pytest.raises(ArtifactCorrupt, match="is missing"):
        Lake(lake.root).scan("consents")


def test_loose_files_lose_the_person_by_line_by_word_and_by_row(tmp_path):
    person = Person.of([WHO, "顾客/0001"])
    rejects, report, vectors = tmp_path / "r.jsonl", tmp_path / "run.json", tmp_path / "v.parquet"
    rejects.write_text(
        f'{{"row":"{WHO},x"}}\n{{"row":"{WHO}3,x"}}\n' + json.dumps({"row": json.dumps({"a": "顾客/0001"})}) + "\n"
    )
    report.write_text(f'{{"error": "for example {WHO}, ann"}}')
    pl.DataFrame({"customer_id": [WHO, "ann"], "v": [1, 2]}).write_parquet(vectors)
    assert [scrub_file(path, person) for path in (rejects, report, vectors)] == [2, 1, 1]
    assert rejects.read_text() == f'{{"row":"{WHO}3,x"}}\n'
    assert report.read_text() == '{"error": "for example (erased), ann"}'
    assert pl.read_parquet(vectors)["customer_id"].to_list() == ["ann"]
    assert [scrub_file(path, person) for path in (rejects, report, vectors)] == [0, 0, 0]
