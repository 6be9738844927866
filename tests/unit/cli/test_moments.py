import pytest

from features.errors import UsageError
from pond.cli.moments import read_moment

MIDNIGHT = 1_740_758_400_000_000  # 2025-03-01 00:00 in Shanghai, UTC µs


@pytest.mark.parametrize(
    "text",
    [
        "2025-03-01", "2025-03-01T00:00:00", "2025-03-01 00:00+08:00", "2025-02-28T16:00:00Z", "1740758400",
        "1740758400000", "1740758400000000",
    ],
)  # fmt: skip
def test_one_moment_in_every_spelling(text):
    assert read_moment(text, "Asia/Shanghai") == MIDNIGHT


def test_what_is_no_moment_is_a_usage_error():
    with pytest.raises(UsageError, match="is not a moment"):
        read_moment("yesterday", "Asia/Shanghai")
