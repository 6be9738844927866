"""The house stands as drawn (DESIGN §1, STYLE): each rule over every file and against a planted violation."""

import subprocess

import pytest

from tests.architecture import rules
from tests.architecture.rules import ROOT, Source

SOURCES = rules.rooms_sources()


def found(rule, sources=SOURCES):
    return [violation for source in sources for violation in rule(source)]


def caught(rule, path, text):
    """A rule must see this violation, else it guards nothing."""
    return bool(rule(Source(path, text)))


def tracked_files():
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]


def test_every_room_has_files():
    assert {source.room for source in SOURCES} == set(rules.ROOMS)


def test_rooms_import_only_what_lies_below_them():
    assert found(rules.layer_violations) == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("features/x.py", "from models.query import Query"),
        ("models/x.py", "import service.app"),
        ("models/x.py", "def f():\n    from training import run"),
        ("training/x.py", "from service import settings"),
        ("service/x.py", "import training.run"),
        ("training/x.py", "import importlib\nimportlib.import_module('pond.cli.main')"),
        ("service/x.py", "from . import settings"),
        ("models/x.py", "import tests.worlds"),
        ("models/x.py", "name = 'training'\n__import__(name)"),
    ],
)
def test_a_wrong_way_up_is_caught(path, text):
    assert caught(rules.layer_violations, path, text)


def test_heavy_libraries_come_in_by_one_door():
    assert found(rules.door_violations) == []


@pytest.mark.parametrize("library", rules.DOORS)
def test_a_heavy_library_by_the_window_is_caught(library):
    assert caught(rules.door_violations, "features/window.py", f"def f():\n    import {library}.inside")


def test_doors_lead_to_rooms_that_exist():
    rooms = {door.split("/")[0] for doors in rules.DOORS.values() for door in doors}
    assert rooms <= set(rules.ROOMS)


def test_imports_stand_at_the_top():
    assert found(rules.late_import_violations) == []


def test_an_import_inside_a_function_is_caught():
    assert caught(rules.late_import_violations, "models/x.py", "def f():\n    import math")
    assert caught(rules.late_import_violations, "models/x.py", "def f():\n    from os import path")
    assert not caught(rules.late_import_violations, "pond/cli/x.py", "def f():\n    import math")


def test_every_exception_for_a_late_import_is_used_and_has_a_reason():
    for path, modules in rules.LATE_IMPORTS.items():
        assert all(modules.values())
        assert set(modules) <= {
            module.split(".")[0] for module, _ in rules.imports(Source(path, (ROOT / path).read_text()).tree)
        }


def test_nothing_happens_on_import():
    assert found(rules.import_time_violations) == []


@pytest.mark.parametrize(
    "text",
    [
        "import os\nHOME = os.environ['HOME']",
        "import os\nHOME = os.getenv('HOME')",
        "LINES = open('x').readlines()",
        "from pathlib import Path\nclass A:\n    text = Path('x').read_text()",
        "import numpy as np\nnp.random.seed(0)",
        "import os\ndef f(x=os.environ.get('X')): ...",
        "import warnings\nif True:\n    warnings.simplefilter('ignore')",
        "from datetime import datetime\nSTARTED = datetime.now()",
    ],
)
def test_something_that_happens_on_import_is_caught(text):
    assert caught(rules.import_time_violations, "models/x.py", text)


def test_what_a_function_does_is_not_import_time():
    assert not caught(rules.import_time_violations, "models/x.py", "import os\ndef f():\n    return os.environ")


def test_files_and_functions_fit_in_a_head():
    assert found(rules.size_violations) == []


def test_what_fits_in_no_head_is_caught():
    assert caught(rules.size_violations, "models/x.py", "a = 1\n" * 401)
    assert caught(rules.size_violations, "models/x.py", "def f():\n" + "    a = 1\n" * 61)
    assert not caught(rules.size_violations, "models/x.py", 'def f():\n    """Say."""\n' + "    a = 1\n" * 55)


def test_nothing_in_the_house_can_execute_a_file():
    assert found(rules.danger_violations) == []


@pytest.mark.parametrize(
    "text",
    [
        "import pickle", "from joblib import load", "import numpy as np\nnp.load('x', allow_pickle=True)",
        "eval('1')", "import yaml\nyaml.load('x')", "def f(x):\n    import dill",
    ],
)  # fmt: skip
def test_what_could_execute_a_file_is_caught(text):
    assert caught(rules.danger_violations, "models/x.py", text)


def test_nothing_is_left_unfinished():
    assert found(rules.unfinished_violations) == []


@pytest.mark.parametrize(
    "text",
    ["# TO" + "DO later", "def f():\n    raise NotImplementedError", "try:\n    pass\nexcept:\n    pass"],
)
def test_what_is_left_unfinished_is_caught(text):
    assert caught(rules.unfinished_violations, "models/x.py", text)


def test_names_say_something():
    assert found(rules.name_violations) == []


def test_a_name_that_says_nothing_is_caught():
    assert caught(rules.name_violations, "models/utils.py", "")
    assert caught(rules.name_violations, "service/x.py", "class StateManager: ...")


def test_no_machine_and_no_registry_is_named_in_tracked_files():
    binary = {".png", ".gz", ".parquet", ".npy"}
    files = [p for p in tracked_files() if p.suffix not in binary]
    assert len(files) > 10
    sources = [Source(str(p.relative_to(ROOT)), p.read_text("utf-8")) for p in files]
    assert found(rules.machine_violations, sources) == []


@pytest.mark.parametrize(
    "text",
    [
        "x = '/" + "home/ann/data'", "cd /" + "work/main", "https://" + "files.pythonhosted.org/x",
        "--index-url https://" + "mirror.example/simple",
    ],
)  # fmt: skip
def test_a_machine_or_a_registry_is_caught(text):
    assert caught(rules.machine_violations, "docs/x.md", text)


def test_there_is_no_package_at_the_root():
    assert not (ROOT / "__init__.py").exists()
