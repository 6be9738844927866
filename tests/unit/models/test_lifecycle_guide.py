"""The guide says what the rules do: its tables are the rules', word for word."""

import re
from pathlib import Path

from models.lifecycle.config import LifecycleConfig
from models.lifecycle.rules import LAYER_RULES, STAGE_RULES
from models.lifecycle.tags import TAG_RULES

GUIDE = (Path(__file__).parents[3] / "docs" / "guides" / "customers.md").read_text("utf-8")


def table(head: str) -> list[list[str]]:
    """The rows of the table with this head."""
    rows = GUIDE.split(f"\n{head}\n", 1)[1].splitlines()[1:]
    cells = []
    for row in rows:
        if not row.startswith("|"):
            break
        cells.append([cell.strip() for cell in row.strip("|").split("|")])
    return cells


def test_stages_and_layers_are_told_as_they_are_decided():
    assert table("| stage | code | when |") == [[rule.gives, rule.code, rule.rule] for rule in STAGE_RULES]
    assert table("| layer | code | when |") == [[rule.gives, rule.code, rule.rule] for rule in LAYER_RULES]


def test_tags_are_told_as_they_are_given():
    slow = round(100 * LifecycleConfig().slow_quantile)
    told = [[rule.tag.code, rule.tag.rule_en.format(slow_share=slow)] for rule in TAG_RULES]
    assert table("| tag | when |") == told


def test_the_settings_named_are_settings():
    section = GUIDE.split("\n## Settings\n", 1)[1].split("\n## ", 1)[0]
    named = re.findall(r"`(\w+) =", section)
    assert len(named) >= 4
    assert set(named) <= LifecycleConfig.model_fields.keys()
