"""The rules of the tree: floors, no import circles, lazy imports, one sign, documented names."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
import typing
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import minibnn

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "minibnn"
EXERCISES = PACKAGE / "learn" / "exercises"  # files for learners, and wrong answers on purpose
FILES = sorted(path for path in PACKAGE.rglob("*.py") if EXERCISES not in path.parents)

# Each room imports only from rooms on lower floors, and has no import circles inside.
FLOORS = {
    "bit_words": 0,
    "renames": 0,
    "windows": 0,
    "html_tables": 0,
    "notebook": 0,
    "atomic_file": 1,
    "regular_file": 1,
    "version": 0,
    "state": 0,
    "file_lock": 1,
    "signals": 0,
    "result_folder": 2,
    "container": 2,
    "description": 3,
    "state_file": 3,
    "backend": 1,
    "checks": 0,
    "gradient_clock": 1,
    "initializers": 1,
    "input_contract": 2,
    "parameter": 2,
    "random_stream": 2,
    "functions": 3,
    "feedback": 3,
    "layers": 4,
    "losses": 4,
    "schedules": 4,
    "encoding": 5,
    "inspection": 5,
    "optimizers": 5,
    "data": 5,
    "model_file": 6,
    "training": 6,
    "gradcheck": 6,
    "plots": 6,
    "film": 6,
    "recipes": 7,
    "default_network": 7,
    "distributed": 5,
    "target_scale": 7,
    "comparison": 8,
    "commands": 9,
    "learn": 9,
    "__main__": 10,
    "diagnosis": 7,
    "packed": 7,
    "export": 8,
    "sklearn": 8,
}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in FILES}

# `Layer.summary()` imports its room when it is called, and names what it returns for type checkers;
# so does `Layer.predict()`, which names the loss;
# the old methods that answered what a layer costs import theirs.
WHEN_CALLED = {
    ("minibnn.layers.base", "minibnn.inspection.summary"),
    ("minibnn.layers.base", "minibnn.inspection.costs"),
    ("minibnn.layers.prediction", "minibnn.training.predict"),
    ("minibnn.layers.prediction", "minibnn.losses"),
}


def imported_names(tree: ast.AST) -> set[str]:
    """What of minibnn is imported by full name: at the top, in functions, and for type checkers.

    A module's name as a string counts, too: `import_module` may be given it.
    """
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "import by full name"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Constant) and node.value in MODULES and node.value != "minibnn":
            names.add(node.value)
    return {name for name in names if name.partition(".")[0] == "minibnn"}


def imported_modules(path: Path) -> set[str]:
    """The modules that a file imports, except for `WHEN_CALLED`."""
    names = imported_names(ast.parse(path.read_text(encoding="utf-8")))
    modules = {name if name in MODULES else name.rpartition(".")[0] for name in names}
    return {m for m in modules if (module_of(path), m) not in WHEN_CALLED}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_floors(path):
    if path == PACKAGE / "__init__.py":
        return  # the door: it imports from every floor
    here = room(path)
    for there in {m.split(".")[1] for m in imported_modules(path) if m != "minibnn"} - {here}:
        assert FLOORS[there] < FLOORS[here], f"{here} (floor {FLOORS[here]}) imports {there}"


def test_every_room_has_a_floor():
    assert {room(p) for p in FILES} - {"__init__"} == set(FLOORS)


def circle(graph: dict[str, set[str]]) -> str:
    """Modules that import each other in a circle, as text; empty if there are none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return " -> ".join(reversed(error.args[1]))
    return ""


def part(module: str, depth: int) -> str:
    """The unit of a module: a room at depth 1, a file or a folder of a room at depth 2."""
    return ".".join(module.split(".")[: depth + 1])


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_no_imports_in_a_circle(depth):
    """Neither rooms, nor files, nor folders inside a room import each other in a circle.

    So each has a floor, above all that it imports, and is found complete in whatever order modules
    are imported. The door is no exception: nothing that it names may import it.
    """
    graph: dict[str, set[str]] = {}
    for module, path in MODULES.items():
        here = part(module, depth)
        needed = {part(m, depth) for m in imported_modules(path)}
        graph[here] = graph.get(here, set()) | needed - {here}
    assert circle(graph) == ""


def test_circles_are_found_wherever_an_import_stands():
    assert circle({"a": {"b"}, "b": {"c"}, "c": set()}) == ""
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) in ("b -> c -> b", "c -> b -> c")
    code = """
import minibnn.checks
from minibnn import losses
if TYPE_CHECKING:
    from minibnn.layers.base import Layer
def later():
    from minibnn.backend import CPU
    import_module("minibnn.packed.file")
"""
    assert imported_names(ast.parse(code)) == {
        "minibnn.checks", "minibnn.losses", "minibnn.layers.base.Layer", "minibnn.backend.CPU",
        "minibnn.packed.file",
    }  # fmt: skip


def test_exceptions_are_needed():
    """A superfluous exception would hide a later circle."""
    for here, there in WHEN_CALLED:
        names = imported_names(ast.parse(MODULES[here].read_text(encoding="utf-8")))
        assert any(name.startswith(there) for name in names)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_private_names_stay_in_their_file(path):
    for name in imported_names(ast.parse(path.read_text(encoding="utf-8"))):
        last = name.rpartition(".")[2]
        assert not last.startswith("_") or last == "__version__", f"imports {name}"


def test_implementations_for_the_cpu_and_for_cuda_know_nothing_of_each_other():
    for here, there in (("cpu", "cuda"), ("cuda", "cpu")):
        for path in (PACKAGE / "backend" / here).glob("*.py"):
            wrong = {m for m in imported_modules(path) if m.startswith(f"minibnn.backend.{there}")}
            assert not wrong, path


def run(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def modules_after(code: str) -> set[str]:
    """The modules that a new process has loaded after `code`, except for those of NumPy."""
    before = "import numpy, sys; before = set(sys.modules)"
    done = run(f"{before}\n{code}\nprint(*set(sys.modules) - before)")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return set(done.stdout.split())


TRAINING = """
from minibnn import Activation, Adam, DataLoader, Dense, LogitCrossEntropy, Sequential, SignSTE
from minibnn import fit, load_mnist
"""
OPTIONAL = {"pandas", "matplotlib", "cupy", "pooch", "requests", "tqdm"}
HEAVY = OPTIONAL | {"numpy.random", "numpy.typing", "logging", "hashlib", "secrets", "tempfile"}
HEAVY |= {"shutil", "pathlib", "difflib"}


def test_import_is_light_and_silent():
    for code in (
        "import minibnn",
        "from minibnn import *; from minibnn import recipes, comparison",
    ):
        done = run(code)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert modules_after(code).isdisjoint(OPTIONAL)


def test_import_loads_nothing_but_the_door():
    assert {m for m in modules_after("import minibnn") if "minibnn" in m} == {
        "minibnn",
        "minibnn.version",
    }
    assert modules_after("import minibnn").isdisjoint(HEAVY)


def test_training_loads_its_own_rooms_only():
    loaded = modules_after(TRAINING)
    assert loaded.isdisjoint(HEAVY)
    rooms = {name.split(".")[1] for name in loaded if name.startswith("minibnn.")}
    core = "backend checks data distributed encoding feedback functions input_contract inspection layers losses renames"
    files = "atomic_file gradient_clock initializers optimizers parameter random_stream regular_file schedules"
    files += " state state_file signals file_lock container notebook"
    assert rooms == {*core.split(), *files.split(), "training", "bit_words", "version", "windows"}


def test_the_door_names_each_thing_as_its_imports_do():
    """`__all__`, the imports for type checkers, and the table for run time."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    imported = {
        alias.name: node.module.removeprefix("minibnn.")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module.startswith("minibnn.")
        for alias in node.names
        if alias.name != "__version__"  # which the door has at once
    }
    assert imported == minibnn._ROOM_OF
    assert sorted(imported) == sorted(minibnn.__all__)
    assert set(minibnn._ROOMS) == set(FLOORS) - {"__main__"}
    assert set(imported).isdisjoint(FLOORS), "a room of that name would hide it"


@pytest.mark.parametrize(
    "code",
    [
        "import minibnn; minibnn.Dense(2, 3); minibnn.layers.Dense; minibnn.recipes.RECIPES",
        "from minibnn import Dense, recipes, layers; Dense(2, 3); recipes.RECIPES",
        "from minibnn import *; Dense(2, 3); fit; diagnose",
        "import minibnn, inspect; assert 'frozen' in inspect.getsource(minibnn.SignSTE)",
        "import minibnn; assert {'Dense', 'recipes', '__version__'} <= set(dir(minibnn))",
        "import minibnn, pickle; assert pickle.loads(pickle.dumps(minibnn.fit)) is minibnn.fit",
        "import minibnn, rlcompleter; c = rlcompleter.Completer({'minibnn': minibnn}); "
        "assert c.complete('minibnn.Den', 0).startswith('minibnn.Dense')",
        "import minibnn; minibnn.Dense; assert 'Dense' in vars(minibnn)  # found once",
    ],
)
def test_the_door_opens(code):
    done = run(code)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_misspelt_name_is_answered_with_the_closest():
    with pytest.raises(AttributeError, match="no attribute 'Dens'; did you mean 'Dense'") as caught:
        minibnn.Dens  # noqa: B018
    assert caught.value.name == "Dens"
    assert run("import minibnn; minibnn.Dens").stderr.count("id you mean") == 1
    assert not hasattr(minibnn, "nothing_like_it")
    with pytest.raises(ImportError, match="Dens"):
        from minibnn import Dens  # noqa: F401


@pytest.mark.parametrize("wrong", ["import nowhere_to_be_found", "(1).no_such_thing", "1 / 0"])
@pytest.mark.parametrize(
    "use", ["import minibnn; hasattr(minibnn, 'fit')", "from minibnn import fit"]
)
def test_errors_inside_a_room_come_out(tmp_path, wrong, use):
    package = tmp_path / "minibnn"
    (package / "training").mkdir(parents=True)
    for file in ("__init__.py", "version.py"):
        (package / file).write_bytes((PACKAGE / file).read_bytes())
    (package / "training" / "__init__.py").write_text(wrong + "\n")
    done = run(f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {use}")
    assert done.returncode == 1
    assert wrong in done.stderr  # the line, in the traceback


def test_no_library_sign():
    """NumPy's and CuPy's sign(0) is 0; ours is +1: `minibnn.functions.sign` is the only sign."""
    for path in FILES:
        assert not re.search(r"\b(np|xp|numpy|cupy)\.sign\(", path.read_text(encoding="utf-8")), (
            path
        )


def test_no_asserts_on_what_users_pass():
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert not any(isinstance(node, ast.Assert) for node in ast.walk(tree)), path


def test_what_is_built_is_not_committed():
    """Otherwise one machine's compiled kernels would be loaded on another one."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no git checkout")
    built = re.compile(r"\.(so|dll|dylib|pyc|o|cubin|seal)$")
    assert [name for name in listed.stdout.splitlines() if built.search(name)] == []


def test_public_names():
    assert len(set(minibnn.__all__)) == len(minibnn.__all__)
    for name in minibnn.__all__:
        assert inspect.getdoc(getattr(minibnn, name)), name


PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", ["README.md", "ARCHITECTURE.md", "docs/extending.md"])
def test_code_in_the_pages_runs(page, monkeypatch, tmp_path):
    """All blocks in one namespace, with the bundled sample, so that it takes seconds."""
    monkeypatch.chdir(tmp_path)  # some write files
    monkeypatch.setattr(minibnn, "load_mnist", minibnn.load_sample)
    monkeypatch.setattr(minibnn, "load_mnist_or_sample", minibnn.load_sample)
    blocks = PYTHON_BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))
    assert blocks or page == "ARCHITECTURE.md"
    namespace = {"__name__": page}
    for number, block in enumerate(blocks, start=1):
        exec(compile(block, f"{page}, block {number}", "exec"), namespace)


BENDER = """GenDense GenConv sign_STE hardtanh_AdaSTE radialSim radialSim_asym matmul matmul_asym_∂x
    matmul_blocked_∂x conv_asym_∂x linear linear_asym_∂x radial radial_asym_∂x
    direct_feedback_loss"""  # what the package exports


def test_every_export_of_bender_has_a_row_a_name_and_a_test():
    text = (ROOT / "docs" / "bender.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:4] for line in text.splitlines() if line.startswith("|")][2:]
    theirs = {name for row in rows for name in re.findall(r"[\w∂]+", row[0])}
    assert set(BENDER.split()) <= theirs
    for row, ours, test in rows:
        names = set(re.findall(r"\b[A-Z]\w+", " ".join(re.findall(r"`([^`]+)`", ours))))
        assert names, row
        assert all(hasattr(minibnn, name) for name in names), ours
        file, _, function = test.strip(" `").partition("::")
        source = (ROOT / "tests" / file).read_text(encoding="utf-8")
        assert f"\ndef {function}(" in source, test


def test_type_hints_can_be_read_at_run_time():
    for thing in (minibnn.Dense.__init__, minibnn.ImageDataset, minibnn.read_idx):
        assert typing.get_type_hints(thing)
