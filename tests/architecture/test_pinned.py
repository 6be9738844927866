"""What is installed is what was audited: every dependency pinned by version and by hash, and installed so."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def requirements():
    text = (ROOT / "constraints.txt").read_text("utf-8").replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def test_every_requirement_is_pinned_with_a_hash():
    found = requirements()
    assert len(found) > 100
    for line in found:
        assert re.match(r"[a-z0-9][a-z0-9._-]*(\[[a-z0-9,_-]+\])?==[^\s;]+", line), line[:80]
        hashes = re.findall(r"--hash=(\w+):([0-9a-f]*)", line)
        assert hashes, line[:80]
        assert all((kind, len(digits)) == ("sha256", 64) for kind, digits in hashes), line[:80]


def test_no_requirement_comes_from_an_address_of_its_own():
    for line in requirements():
        assert not re.search(r"://|@ |--index-url|--extra-index-url|--find-links|--trusted-host|^-", line), line[:80]


def test_setup_installs_nothing_that_has_no_hash():
    installs = [line for line in (ROOT / "Makefile").read_text().splitlines() if "$(PIP)" in line]
    assert [line for line in installs if "--require-hashes" not in line and "--no-deps" not in line] == []
    assert any("--require-hashes -r constraints.txt" in line for line in installs)


def test_every_direct_dependency_is_among_the_pinned():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(one for some in project["optional-dependencies"].values() for one in some)]
    pinned = {re.split(r"[\[=]", line)[0].lower().replace("_", "-") for line in requirements()}
    names = {re.split(r"[\[<>=~! ]", one)[0].lower().replace("_", "-") for one in asked}
    assert names - pinned == set()
