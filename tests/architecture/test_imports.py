"""Importing any module of the house writes nothing and reads no setting; `pond --help` imports no heavy library."""

import json
import os
import subprocess
import sys

from tests.architecture import rules

HEAVY = {"mlflow", "faiss", "lightfm", "implicit", "sklearn", "lightgbm", "fastapi", "polars", "matplotlib", "numpy"}

IMPORT_ALL = """
import importlib, json, os, sys, threading, warnings
warnings.simplefilter("ignore")
sys.dont_write_bytecode = True
before = dict(os.environ)
failed = {}
for name in json.loads(sys.stdin.read()):
    try:
        importlib.import_module(name)
    except Exception as error:
        failed[name] = repr(error)
ours = [k for k in os.environ if k.startswith("POND_") and before.get(k) != os.environ[k]]
print(json.dumps({"failed": failed, "env": ours}))
"""


def run_python(code, cwd, feed=""):
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(rules.ROOT), "HOME": str(cwd), "MPLCONFIGDIR": str(cwd.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=env, input=feed, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_every_module_writes_nothing(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    names = [s.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for s in rules.rooms_sources()]
    said = json.loads(run_python(IMPORT_ALL, home, json.dumps(names)).splitlines()[-1])
    assert said == {"failed": {}, "env": []}
    assert list(home.rglob("*")) == []


def test_the_command_line_starts_light(tmp_path):
    loaded = json.loads(run_python("import json, sys, pond.cli.main; print(json.dumps(sorted(sys.modules)))", tmp_path))
    assert HEAVY & {name.split(".")[0] for name in loaded} == set()


def test_service_workers_never_load_the_training_room(tmp_path):
    loaded = json.loads(run_python("import json, sys, service.app; print(json.dumps(sorted(sys.modules)))", tmp_path))
    assert {"mlflow", "training", "pond", "matplotlib"} & {name.split(".")[0] for name in loaded} == set()
