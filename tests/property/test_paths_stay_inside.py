"""Whatever a name from outside holds, no path made of it leaves the shop's directory."""

from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import PondError, UsageError
from features.ids import validated_release_id, validated_shop_name
from features.shop import create_shop, open_shop, shop_names, shop_root
from models.release_store import DirectoryStore
from service.addressing import UnreadablePath, normal_path

NASTY = st.sampled_from(
    [
        "..",
        ".",
        "",
        "/",
        "../other",
        "a/../../b",
        "/etc",
        "~",
        "a\0b",
        "C:\\x",
        "..\\..",
        "％2e",
        ".hidden",
        "a\n",
        "r1/",
        "-x",
        "é",
    ]
)
NAMES = NASTY | st.text(max_size=50) | st.lists(NASTY, min_size=1, max_size=4).map("/".join)


@given(NAMES)
def test_a_shop_name_is_a_directory_right_below_the_shops(name):
    home = Path("/of/pond")
    try:
        root = shop_root(home, name)
    except UsageError:
        return
    assert root.parent == home / "shops"
    assert root.name == name == validated_shop_name(name)


@given(NAMES)
def test_a_release_id_is_a_directory_right_below_the_releases(name):
    try:
        validated_release_id(name)
    except UsageError:
        return
    assert (Path("/r") / name).parent == Path("/r")
    assert name not in (".", "..")
    assert not name.startswith(".")


@given(name=NAMES)
def test_nothing_is_read_promoted_or_published_for_a_name_that_leads_away(tmp_path_factory, name):
    root = tmp_path_factory.mktemp("releases")
    store = DirectoryStore(root / "shop" / "releases")
    for act in (store.load, store.promote, lambda r: store.publish(r, lambda path: path.mkdir(parents=True))):
        with pytest.raises((PondError, OSError)):
            act(name)
    assert {path.name for path in root.rglob("*")} <= {"shop", "releases", name}


@given(NAMES)
def test_a_shop_is_never_created_outside_the_home(tmp_path_factory, name):
    home = tmp_path_factory.mktemp("homes") / "home"
    try:
        create_shop(home, name, "Asia/Shanghai")
    except UsageError:
        assert not home.exists()
        return
    assert shop_names(home) == [name]
    assert open_shop(home, name).root == home / "shops" / name
    assert [path.name for path in home.parent.iterdir()] == ["home"]


@given(st.binary(max_size=60))
def test_a_path_is_normal_once_and_names_the_same_bytes(raw):
    try:
        path = normal_path(raw)
    except UnreadablePath:
        return
    assert unquote_to_bytes(path) == unquote_to_bytes(raw)
    assert normal_path(path.encode()) == path
    assert path.count("/") == raw.count(b"/")
