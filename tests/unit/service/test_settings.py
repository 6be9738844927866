import pytest

from features.errors import UsageError
from service.settings import ServiceSettings


def test_arguments_win_over_environment_and_environment_over_defaults():
    env = {"POND_PORT": "9000", "POND_WORKERS": "3", "PATH": "/bin"}
    settings = ServiceSettings.of(env, port=9100, host=None)
    assert (settings.port, settings.workers, settings.host) == (9100, 3, "127.0.0.1")


def test_a_wrong_value_is_one_sentence_that_names_the_setting():
    with pytest.raises(UsageError, match="POND_PORT"):
        ServiceSettings.of({"POND_PORT": "many"})


def test_urls_with_passwords_are_not_shown():
    settings = ServiceSettings.of(
        {"POND_REDIS_URL": "redis://:hush@h/0", "POND_CONTROL_URL": "postgresql://u:hush@h/d"}
    )
    assert "hush" not in repr(settings)
