"""What a shop's own file may say of it."""

import pytest

from features.errors import ContractError
from features.shop import create_shop, open_shop


@pytest.fixture
def said(tmp_path):
    shop = create_shop(tmp_path, "toy", "Asia/Shanghai")

    def said(line):
        shop.config_file.write_text(f'[shop]\nname = "toy"\ntimezone = "Asia/Shanghai"\n{line}\n')
        return open_shop(tmp_path, "toy")

    return said


@pytest.mark.parametrize(("line", "wanted"), [("", 0.0), ("low_stock = 3", 3.0), ("low_stock = 0.5", 0.5)])
def test_the_threshold_of_stock_is_read_each_time_the_shop_is_opened(said, line, wanted):
    assert said(line).low_stock == wanted


@pytest.mark.parametrize("value", ["-1", '"3"', "true", "nan", "inf", "1e13", "[1]"])
def test_a_threshold_that_is_no_amount_is_refused_with_its_place(said, value):
    with pytest.raises(ContractError, match=r"shop\.low_stock"):
        said(f"low_stock = {value}")
