from features.watermarks import Watermark
from models.release import write_release
from service.keep import Shops
from tests import serving, worlds


def test_the_floor_is_the_lowest_watermark_of_all_releases_and_none_when_one_cannot_be_read(tmp_path):
    toy = serving.open_toy_shop(tmp_path, "toy")
    models = serving.fitted(worlds.world(as_of=1), ("popular",))
    for release_id, marks in (
        ("r1", {"0": "e:9-0", "1": "e:4-0"}),
        ("r2", {"0": "e:10-0", "1": "f:5-0", "2": "e:1-0"}),
    ):
        facts = {"release_id": release_id, "shop": "toy", "created_at": 1, "dataset_digest": "d", "watermarks": marks}
        toy.releases.publish(release_id, lambda path, facts=facts: write_release(models, path, facts))
    shops = Shops(tmp_path, toy.settings, b"")
    (kept,) = shops.kept()
    assert (kept.shop, kept.rejects) == ("toy", toy.shop.rejects_dir)
    assert kept.floors() == {"0": Watermark("e", "9-0")}
    assert next(iter(shops.kept())).lake is kept.lake
    (toy.shop.releases_dir / "r2" / "manifest.json").write_text("{")
    assert kept.floors() == {}
