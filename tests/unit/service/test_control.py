from concurrent.futures import ThreadPoolExecutor

import pytest

from features.errors import ReleaseError, UsageError
from service.auth import Authenticator, NotAllowed, NotAuthenticated, require
from service.control import ControlPlane, Role
from service.settings import ServiceSettings


@pytest.fixture
def settings(tmp_path):
    return ServiceSettings.of({}, home=tmp_path / "home")


@pytest.fixture
def control(settings):
    plane = ControlPlane.open(settings)
    yield plane
    plane.close()


@pytest.fixture
def doorkeeper(control):
    authenticator = Authenticator(control)
    yield authenticator
    authenticator.close()


def test_a_new_key_opens_its_own_shop(control, doorkeeper):
    caller = doorkeeper.authenticate("Bearer " + control.create_key("lake-shop", Role.operator))
    assert (caller.shop, caller.role) == ("lake-shop", Role.operator)


def test_a_revoked_key_fails_on_the_next_request_whoever_revoked_it(settings, control, doorkeeper):
    elsewhere = ControlPlane.open(settings)  # another process has its own connections too
    for plane in (control, elsewhere):
        key = control.create_key("s", Role.backend)
        doorkeeper.authenticate(f"Bearer {key}")
        plane.revoke_key("s", key.split("_")[1])
        with pytest.raises(NotAuthenticated):
            doorkeeper.authenticate(f"Bearer {key}")
    elsewhere.close()


def test_every_wrong_key_gets_the_same_sentence(control, doorkeeper):
    key = control.create_key("s", Role.admin)
    flipped = key[:-1] + ("0" if key[-1] != "0" else "1")
    sentences = set()
    for header in (
        None,
        "",
        "Bearer",
        f"Basic {key}",
        f"Bearer {flipped}",
        f"Bearer pond_{'0' * 12}_{'0' * 64}",
        f"Bearer {key}x",
    ):
        with pytest.raises(NotAuthenticated) as refused:
            doorkeeper.authenticate(header)
        sentences.add(str(refused.value))
    assert len(sentences) == 1


def test_roles_include_the_lower_ones_and_shops_do_not_mix(control, doorkeeper):
    caller = doorkeeper.authenticate("Bearer " + control.create_key("s", Role.operator))
    assert require(caller, Role.backend, "s") is caller
    with pytest.raises(NotAllowed, match="admin"):
        require(caller, Role.admin)
    with pytest.raises(NotAllowed, match="another shop"):
        require(caller, Role.backend, "t")


def test_secrets_are_nowhere_in_the_files(settings, control):
    secret = control.create_key("s", Role.admin).rsplit("_", 1)[1]
    assert all(secret.encode() not in path.read_bytes() for path in settings.home.iterdir())


def test_keys_are_listed_and_changes_audited(control):
    first, second = (control.create_key("s", role).split("_")[1] for role in (Role.backend, Role.admin))
    control.revoke_key("s", first)
    assert [(key.id, key.revoked_at is None) for key in control.list_keys("s")] == [(first, False), (second, True)]
    assert control.list_keys("t") == []
    assert [row.action for row in control.audit("s")] == ["key.revoke", "key.create", "key.create"]
    with pytest.raises(UsageError, match="has no key"):
        control.revoke_key("t", second)


def test_a_key_that_is_revoked_again_keeps_its_moment_and_its_one_row_in_the_audit(control):
    key = control.create_key("s", Role.backend).split("_")[1]
    assert control.revoke_key("s", key)
    before = control.list_keys("s"), control.audit("s")
    assert not control.revoke_key("s", key)
    assert (control.list_keys("s"), control.audit("s")) == before


def test_a_recorded_action_is_found_again(control):
    control.record("cli", "s", "release.promote", {"release": "r1"})
    assert (control.audit("s")[0].action, control.audit("s")[0].details) == ("release.promote", {"release": "r1"})


def test_partitions_of_a_shop_never_change(control):
    assert control.note_shop("s", 16) == 16
    assert control.note_shop("s", 4) == 16


def test_many_commands_may_open_it_for_the_first_time_at_once(settings):
    with ThreadPoolExecutor(6) as pool:
        planes = list(pool.map(lambda _: ControlPlane.open(settings), range(6)))
    planes[0].create_key("s", Role.admin)
    assert len(planes[5].list_keys("s")) == 1
    for plane in planes:
        plane.close()


def test_a_database_of_a_newer_pond_is_refused(settings, control):
    with control.engine.begin() as db:
        db.exec_driver_sql("UPDATE format SET version = 99")
    with pytest.raises(ReleaseError, match="upgrade Pond"):
        ControlPlane.open(settings).close()
