"""The commands of "Your own shop's data" in both READMEs, run as a newcomer would on the CSV files of a toy shop."""

import csv
import os
import re
import stat
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from polars.testing import assert_frame_equal

from features.lake import Lake
from pond.cli.main import main

ROOT = Path(__file__).parents[2]
TEAS = [f"tea-{n}" for n in range(8)]
MEMBERS = [f"m{n:02d}" for n in range(40)]


ENGLISH = ("README.md", "Your own shop's data")
CHINESE = ("README.zh.md", "用您自己店铺的数据")


def block(readme, heading, language):
    section = (ROOT / readme).read_text("utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.search(rf"```{language}\n(.*?)```", section, re.DOTALL)[1]


def write_shop(folder, mapping):
    """Every member buys two teas of a kind every ten days; the columns are named as the mapping says."""
    name = dict(re.findall(r'^(\w+) = "(.+)"$', mapping, re.MULTILINE))
    start = datetime(2025, 1, 1, 9, 30)  # noqa: DTZ001 - tills write the shop's own clock
    with (folder / "products.csv").open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow([name["product_id"], name["title"], "category", "brand", "price"])
        out.writerows(
            [tea, f"Tea {tea} 茶", f"tea/{'green' if n < 4 else 'black'}", "house", 20 + n]
            for n, tea in enumerate(TEAS)
        )
    with (folder / "orders.csv").open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow([name["customer_id"], name["item_id"], name["at"], name["order_id"], "quantity"])
        for who, member in enumerate(MEMBERS):
            for visit in range(9):
                at = start + timedelta(days=10 * visit + who % 10, minutes=who)
                for step in range(2):
                    tea = TEAS[(who % 2) * 4 + (who + step * (1 + visit % 3)) % 4]
                    out.writerow([member, tea, at.isoformat(" "), f"{member}-{visit}", 1])


@pytest.fixture
def pond_on_path(tmp_path):
    command = tmp_path / "bin" / "pond"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pond.cli.main "$@"\n')
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    return {
        **os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT),
        "POND_HOME": str(tmp_path / "home"), "POND_TRAINING__BOOTSTRAP_SAMPLES": "100",
    }  # fmt: skip


def run(commands, folder, env):
    script = "set -e\n" + commands.replace(". .venv/bin/activate\n", "")
    done = subprocess.run(["bash", "-c", script], cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_commands_of_the_readme_bring_in_a_shop(tmp_path, pond_on_path):
    mapping, commands = (block(*ENGLISH, language) for language in ("toml", "sh"))
    (tmp_path / "columns.toml").write_text(mapping, "utf-8")
    write_shop(tmp_path, mapping)
    said = run(commands, tmp_path, pond_on_path)
    with (tmp_path / "slates.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["customer_id"] for row in rows} == set(MEMBERS)
    assert {row["item_id"] for row in rows} <= set(TEAS)
    assert all(row["reason_zh"] and row["reason_en"] and row["stage"] for row in rows)
    assert re.search(r"^pond_[0-9a-f]{12}_[0-9a-f]{64}$", said, re.MULTILINE)


def test_the_chinese_readme_brings_in_the_same_shop_with_the_same_commands(tmp_path, capsys):
    """What its columns are called is all that differs, and that ends at the lake: from there on nothing runs twice."""
    assert block(*CHINESE, "sh") == block(*ENGLISH, "sh")
    tables = []
    for readme in (ENGLISH, CHINESE):
        folder = tmp_path / readme[0]
        folder.mkdir()
        mapping = block(*readme, "toml")
        (folder / "columns.toml").write_text(mapping, "utf-8")
        write_shop(folder, mapping)
        for words in re.findall(r"^pond ((?:shop|ingest|check) .+)$", block(*readme, "sh"), re.MULTILINE):
            files = [str(folder / word) if (folder / word).is_file() else word for word in words.split()]
            assert main([*files, "--home", str(folder / "home")]) == 0
        assert "FAIL" not in capsys.readouterr().out
        lake = Lake(folder / "home/shops/tea-house/lake")
        tables.append([lake.scan(table).collect() for table in ("events", "products")])
    for english, chinese in zip(*tables, strict=True):
        assert len(english) in (len(MEMBERS) * 9 * 2, len(TEAS))
        assert_frame_equal(english, chinese, check_row_order=False)


def test_both_readmes_name_the_same_commands():
    listed = [
        re.findall(r"^\| `(pond [a-z]+)", (ROOT / name).read_text("utf-8"), re.MULTILINE)
        for name in ("README.md", "README.zh.md")
    ]
    assert listed[0] == listed[1]
    assert len(listed[0]) > 8
