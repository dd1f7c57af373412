"""The house's layers: no import points up or sideways, and each power (I/O, compiling, gradients) has its room."""

import ast
import graphlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOUNDATION = {"errors", "types", "rng", "tree", "rules", "progress"}
ROOMS = {"nets", "processes", "losses", "data", "worlds", "metrics", "explain"}
METHOD = FOUNDATION | ROOMS | {"samplers", "guards"}
TRAINED = METHOD | {"inference", "report"}
LIBRARY = TRAINED | {"players", "algorithms", "train"}
MAY_IMPORT = {
    "errors": set(),
    "types": {"errors"},
    "rng": {"types"},
    "tree": {"types"},
    "progress": set(),
    "rules": {"types"},
    **{room: FOUNDATION for room in ROOMS},
    "samplers": FOUNDATION | ROOMS,
    "guards": FOUNDATION | ROOMS | {"samplers"},
    "players": METHOD,
    "inference": METHOD,
    # A leaf: it shows numbers and knows neither how they are made nor of what.
    "report": {"errors", "types", "data"},
    "algorithms": METHOD | {"players"},
    "train": METHOD | {"inference"},
    "configs": LIBRARY,
    "runs": LIBRARY | {"configs"},
    "evaluation": LIBRARY | {"configs", "runs"},
    "cli": LIBRARY | {"configs", "runs", "evaluation"},
    "__main__": {"cli"},
    "api": LIBRARY | {"configs", "runs", "evaluation", "cli"},
    "__init__": LIBRARY | {"configs", "runs", "evaluation", "api"},
}
MAY_IMPORT |= {"benchmarks": set(MAY_IMPORT)}

FILES = sorted([*ROOT.glob("aigc_jax/**/*.py"), *ROOT.glob("configs/**/*.py"), *ROOT.glob("benchmarks/**/*.py")])
DOING_IO = {"data", "train", "inference", "report", "runs", "evaluation", "cli", "api", "benchmarks", "__main__"}
COMPILING = {"jit", "pmap", "shard_map", "make_mesh", "Mesh", "NamedSharding", "PartitionSpec", "device_put"}
GRADIENTS = {"grad", "value_and_grad", "vjp", "jacrev", "jacfwd", "jvp", "linearize", "hessian"}
# Training and its regularisers; the path length of a generator is a derivative along the path, and its sensitivity one
# along a direction, by their definitions.
TAKING_GRADIENTS = {
    "aigc_jax/players.py",
    "aigc_jax/losses/regularizers.py",
    "aigc_jax/metrics/path_length.py",
    "aigc_jax/metrics/consistency.py",
}
IO_MODULES = {
    "os",
    "pathlib",
    "shutil",
    "subprocess",
    "socket",
    "urllib",
    "tempfile",
    "pickle",
    "io",
    "PIL",
}
IO_CALLS = {"open", "print", "input"}


def room_of(path):
    """``aigc_jax/nets/mlp.py`` is of ``nets``, ``aigc_jax/rng.py`` of ``rng``, ``configs/x.py`` of ``configs``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[1] if parts[0] == "aigc_jax" else parts[0]


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree, package=""):
    """Full names of everything that a module imports, at whatever depth in the file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def bad_arrows(source, room, package=""):
    """The imports of a file in a room that point up or sideways."""
    found = []
    for name in imported(ast.parse(source), package):
        parts = name.split(".")
        target = parts[1] if parts[0] == "aigc_jax" and len(parts) > 1 else parts[0]
        if parts[0] not in ("aigc_jax", "configs") or target == room or target.startswith("__"):
            continue
        if target not in MAY_IMPORT[room]:
            found.append(name)
    return found


def jax_powers(source, names):
    """Uses of jax functions by name: ``jax.jit``, ``from jax import jit``, ``jax.sharding.Mesh`` ..."""
    tree = ast.parse(source)
    uses = [name for name in imported(tree) if name.split(".")[0] == "jax" and name.split(".")[-1] in names]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in names and ast.unparse(node).startswith(("jax.", "nn.")):
            uses.append(ast.unparse(node))
    return uses


def io_uses(source):
    tree = ast.parse(source)
    uses = [name for name in imported(tree) if name.split(".")[0] in IO_MODULES]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IO_CALLS:
            uses.append(f"{node.func.id}()")
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("np.save", "np.load", "jnp.save", "jnp.load"):
            uses.append(ast.unparse(node))
    return uses


def test_every_room_has_its_rule():
    assert {room_of(path) for path in FILES} <= set(MAY_IMPORT)


def offenders(found_in):
    """The files in which ``found_in(path, source)`` finds something, with all that it finds."""
    found = {path.relative_to(ROOT).as_posix(): list(found_in(path, path.read_text())) for path in FILES}
    return {path: names for path, names in found.items() if names}


def test_imports_point_down():
    def bad(path, source):
        package = module_of(path) if path.name == "__init__.py" else module_of(path).rpartition(".")[0]
        return bad_arrows(source, room_of(path), package)

    assert offenders(bad) == {}


def test_programs_are_compiled_in_their_rooms():
    rooms = {"train", "inference", "benchmarks"}
    assert offenders(lambda path, source: [] if room_of(path) in rooms else jax_powers(source, COMPILING)) == {}


def test_gradients_are_taken_in_their_rooms():
    # Not training gradients: slopes of schedules, the trace of a flow, the slope of a classifier that guides.
    rooms = {"explain", "processes", "samplers"}

    def bad(path, source):
        is_allowed = room_of(path) in rooms or path.relative_to(ROOT).as_posix() in TAKING_GRADIENTS
        return [] if is_allowed else jax_powers(source, GRADIENTS)

    assert offenders(bad) == {}


def test_files_are_read_and_written_in_their_rooms():
    def bad(path, source):
        is_allowed = room_of(path) in DOING_IO or path.relative_to(ROOT).as_posix() == "aigc_jax/configs/__init__.py"
        return [] if is_allowed else io_uses(source)

    assert offenders(bad) == {}


def test_no_module_imports_in_a_circle():
    modules = {module_of(path): path for path in FILES}
    graph = {}
    for module, path in modules.items():
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        names = set(imported(ast.parse(path.read_text()), package))
        names |= {name.rpartition(".")[0] for name in names}
        graph[module] = {name for name in names if name in modules and name != module}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("types", "import aigc_jax.rng"),
        ("rng", "from aigc_jax.tree import ema"),
        ("nets", "from aigc_jax.losses import adversarial"),
        ("losses", "def f():\n    from aigc_jax.nets.mlp import MLPGenerator"),
        ("data", "from aigc_jax import metrics"),
        ("metrics", "from aigc_jax.samplers.ode import heun"),
        ("players", "import aigc_jax.algorithms.gan"),
        ("train", "from aigc_jax.algorithms.gan import gan"),
        ("train", "from aigc_jax.players import make_step"),
        ("train", "from aigc_jax.report import report"),
        ("report", "from aigc_jax.train.loop import train"),
        ("algorithms", "from aigc_jax.train.loop import train"),
        ("algorithms", "from configs.gan_digits import Config"),
        ("nets", "from ..losses import adversarial"),
        ("configs", "from aigc_jax.cli import main"),
    ],
)
def test_a_planted_arrow_is_caught(room, line):
    assert bad_arrows(line, room, f"aigc_jax.{room}")


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("nets", "from aigc_jax.nets.norm import Norm"),
        ("nets", "from .norm import Norm"),
        ("losses", "from aigc_jax.types import Batch"),
        ("algorithms", "from aigc_jax.nets.mlp import MLPGenerator"),
        ("cli", "from aigc_jax.train.loop import train"),
        ("data", "import numpy as np"),
    ],
)
def test_an_allowed_arrow_passes(room, line):
    assert bad_arrows(line, room, f"aigc_jax.{room}") == []


def test_planted_powers_are_caught():
    assert jax_powers("import jax\nf = jax.jit(g)", COMPILING)
    assert jax_powers("from jax.sharding import Mesh", COMPILING)
    assert jax_powers("import jax\nf = jax.value_and_grad(g)", GRADIENTS)
    assert jax_powers("from flax import linen as nn\nf = nn.jit(g)", COMPILING)
    assert not jax_powers("import jax\nf = jax.vmap(g)", COMPILING | GRADIENTS)
    for line in ("open('x')", "from pathlib import Path", "import os.path", "print(1)", "np.save('x', y)"):
        assert io_uses(line)
    assert not io_uses("import jax.numpy as jnp")
