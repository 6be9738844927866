import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from features.clock import HOUR_US
from features.errors import ArtifactCorrupt, ContractError, ReleaseError
from models.catalogue import SOURCES
from models.config import PipelineConfig, validated_pipeline_config
from models.rank.blend import LearnedBlend
from models.release import MANIFEST, load_release, read_manifest, write_release
from models.release_store import DirectoryStore
from models.slate import Request
from models.trained import Models
from tests import worlds


def facts(release_id="r1", created_at=1):
    return {"release_id": release_id, "shop": "toy", "created_at": created_at, "dataset_digest": "d"}


@pytest.fixture(scope="module")
def models():
    toy = worlds.two_tastes()
    config = validated_pipeline_config({}, "test")
    return Models.of(
        toy, config, {"popular": SOURCES["popular"].fit(toy, config.source("popular"), np.random.default_rng(0))}
    )


@pytest.fixture
def store(tmp_path, models):
    made = DirectoryStore(tmp_path)
    for number in (1, 2, 3):
        made.publish(f"r{number}", lambda p, n=number: write_release(models, p, facts(f"r{n}", n)))
    return made


def test_a_release_answers_like_the_models_it_was_made_of(store, models):
    loaded = store.load("r1").models
    for who in (0, 5, -1):
        request = Request(models.query(who, models.as_of), "home", 8)
        assert loaded.pipeline.recommend(request, loaded.items) == models.pipeline.recommend(request, models.items)
    assert loaded.attributes(0) == models.attributes(0) == {"region": "coffeeland", "tier": "gold"}


def test_the_hour_at_which_the_shops_day_turns_comes_back_and_sets_the_clock(models, tmp_path):
    write_release(replace(models, day_starts=4), tmp_path / "r1", facts())
    loaded = load_release(tmp_path / "r1").models
    midnight = models.query(0, models.as_of).moment
    at_three, at_five = midnight + 3 * HOUR_US, midnight + 5 * HOUR_US
    assert loaded.query(0, at_five).moment == midnight + 4 * HOUR_US
    assert loaded.query(0, at_three).moment == midnight - 20 * HOUR_US
    assert models.query(0, at_three).moment == midnight


def test_learned_weights_come_back_with_the_release(models, tmp_path):
    blend = LearnedBlend(weights={"popular": 0.2}, rank_offset=20.0)
    write_release(replace(models, blends={"home": blend}), tmp_path / "r1", facts())
    loaded = load_release(tmp_path / "r1").models
    assert loaded.blends == {"home": blend}
    served, said = loaded.pipeline.scenes["home"], loaded.config.all_scenes["home"]
    assert (served.sources, served.rank_offset) == ({"popular": 0.2}, 20.0)
    assert said.sources != served.sources


def test_equal_trainings_have_equal_content_digests(store):
    digests = {m.content_digest for m in store.list()}
    assert len(digests) == 1
    assert [m.release_id for m in store.list()] == ["r1", "r2", "r3"]


def test_the_pointer_moves_forth_and_back(store):
    assert store.current_id() is None
    for release in ("r1", "r2", "r3"):
        store.promote(release)
        assert store.current_id() == release
    assert store.rollback() == "r2"
    assert store.rollback() == "r1"
    with pytest.raises(ReleaseError, match="no earlier release"):
        store.rollback()
    assert store.current_id() == "r1"


def test_rollback_steps_over_a_release_that_is_gone(store, tmp_path):
    for release in ("r1", "r2", "r3"):
        store.promote(release)
    shutil.rmtree(tmp_path / "r2")
    assert store.rollback() == "r1"


def test_promoting_what_is_not_there_is_refused(store):
    with pytest.raises(ReleaseError, match="no release r9"):
        store.promote("r9")


def test_a_damaged_release_is_not_promoted(store, tmp_path):
    store.promote("r1")
    config = next(tmp_path.rglob("r2/config.json"))
    config.write_bytes(config.read_bytes() + b" ")
    with pytest.raises(ArtifactCorrupt, match="is not what was written"):
        store.promote("r2")
    assert store.current_id() == "r1"


def test_going_back_to_a_damaged_release_is_refused_and_the_serving_one_stays(store, tmp_path):
    store.promote("r1")
    store.promote("r2")
    config = next(tmp_path.rglob("r1/config.json"))
    config.write_bytes(config.read_bytes() + b" ")
    with pytest.raises(ArtifactCorrupt, match="is not what was written"):
        store.rollback()
    assert store.current_id() == "r2"


def test_a_release_is_never_written_twice(store, models):
    with pytest.raises(ReleaseError, match="exists already"):
        store.publish("r1", lambda p: write_release(models, p, facts()))


def test_a_failed_write_leaves_nothing_visible(tmp_path):
    def half(path):
        path.mkdir()
        (path / "x").write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        DirectoryStore(tmp_path).publish("r1", half)
    assert list(tmp_path.iterdir()) == []


def test_every_file_is_guarded_against_flipped_and_missing_bytes(store, tmp_path):
    names = list(read_manifest(tmp_path / "r1").files)
    assert len(names) > 10
    for name in names:
        path = tmp_path / "r1" / name
        content = path.read_bytes()
        flipped = bytearray(content or b"\0")
        flipped[len(flipped) // 2] ^= 1
        for damaged in (bytes(flipped), content[:-1], None):
            if damaged is None:
                path.unlink()
            else:
                path.write_bytes(damaged)
            if damaged != content:
                with pytest.raises(ArtifactCorrupt, match=path.name):
                    load_release(tmp_path / "r1")
        path.write_bytes(content)
    load_release(tmp_path / "r1")


def test_a_file_that_does_not_belong_is_refused(store, tmp_path):
    (tmp_path / "r1" / "sources" / "evil.pkl").write_bytes(b"x")
    with pytest.raises(ArtifactCorrupt, match=r"evil\.pkl.*does not belong"):
        load_release(tmp_path / "r1")


@pytest.mark.parametrize(("version", "what"), [(99, "upgrade Pond to read it"), (0, "run `pond upgrade`")])
def test_another_format_version_says_what_to_do(store, tmp_path, version, what):
    path = tmp_path / "r1" / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": version}))
    with pytest.raises(ReleaseError, match=what):
        store.load("r1")


def test_a_broken_pointer_is_named(store, tmp_path):
    (tmp_path / "CURRENT").write_text("{")
    with pytest.raises(ArtifactCorrupt, match="CURRENT"):
        store.current_id()


def test_configuration_mistakes_name_the_setting():
    with pytest.raises(ContractError, match=r"scenes.home.category_decay"):
        validated_pipeline_config({"scenes": {"home": {"category_decay": 2}}}, "pond.toml")
    with pytest.raises(ContractError, match="no source 'magic'"):
        validated_pipeline_config({"scenes": {"mine": {"sources": {"magic": 1}}}}, "pond.toml")
    with pytest.raises(ContractError, match="half_life_days"):
        validated_pipeline_config({"sources": {"popular": {"half_life_days": -1}}}, "pond.toml")
    with pytest.raises(ContractError, match="colour"):
        validated_pipeline_config({"colour": "red"}, "pond.toml")


def test_a_scene_given_in_part_keeps_its_recipe_for_the_rest():
    config = validated_pipeline_config({"scenes": {"home": {"category_decay": 0.5}}}, "pond.toml")
    assert config.all_scenes["home"].category_decay == 0.5
    assert config.all_scenes["home"].sources == PipelineConfig().all_scenes["home"].sources
    assert config.digest != PipelineConfig().digest
