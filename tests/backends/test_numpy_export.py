"""Modules exported through NumPy: they need NumPy alone, and compute bit for bit as in process."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import graphc as gx
import op_samples
from graphc import backend as backends
from graphc import ir
from graphc.passes import pipeline
from numpy_exports import (
    PROGRAMS,
    check_linted,
    contents,
    exported,
    loaded,
    recurrent,
    replayed,
    run_alone,
    same,
    stream,
)


def batch(net: str) -> tuple[np.ndarray, ...]:
    """Return the inputs of a program's training function."""
    generator = np.random.default_rng(7)
    if net == "recurrent":
        return generator.standard_normal((6, 5, 3)), generator.standard_normal((5, 4))
    images = generator.standard_normal((19, 1, 12, 12)).astype("float32")
    return images, generator.integers(0, 4, 19)


# ---------------------------------------------------------------- the same numbers

TRAIN = """
import {name} as made
module, data = made.Module(), np.load(sys.argv[1])
given = [data[f"arr_{{i}}"] for i in range(len(data))]
losses = [module.train(*given) for _ in range(6)]
module.save(sys.argv[2])
first = module.functions[sys.argv[4]](given[0])
first = first if isinstance(first, np.ndarray) else first[1][0]
np.savez(sys.argv[3], losses=losses, first=first)
"""


@pytest.mark.parametrize("net", ["sgd", "adam", "recurrent"])
def test_training_elsewhere_gives_the_same_bits_as_in_process(tmp_path: Path, net: str) -> None:
    module, folder = exported(tmp_path, PROGRAMS[net]())
    given = batch(net)
    np.savez(tmp_path / "in.npz", *given)
    places = [tmp_path / n for n in ("in.npz", "after.safetensors", "out.npz")]
    first = "run" if net == "recurrent" else "predict"
    name = "recurrent" if net == "recurrent" else "lenet"
    run_alone(folder, TRAIN.format(name=name), *places, first)
    losses = [module.train(*given) for _ in range(6)]
    result = module.functions[first](given[0])
    result = result[1][0] if net == "recurrent" else result
    found = np.load(places[2])
    assert same(dict(found), {"losses": np.array(losses), "first": result})
    assert losses[-1] < losses[0] or net == "sgd"
    other = gx.compile(PROGRAMS[net](), backend="numpy")
    other.load(places[1])
    assert same(other.state, module.state)


RUN = [s for s in op_samples.SAMPLES if not s.core_only]


@pytest.mark.parametrize("sample", RUN, ids=op_samples.label)
def test_every_op_gives_the_bits_of_the_process(tmp_path: Path, sample: op_samples.Sample) -> None:
    node = sample.build(sample.dtypes[0])
    inputs = tuple(n for n in sample.leaves(node) if n.op.name == "input")
    states = tuple(n for n in sample.leaves(node) if n not in inputs)
    function = ir.Function("f", inputs, (node,), training=True)
    program = pipeline.canonical(ir.Program("p", (function,), states))
    made = backends.find("numpy").build(program, backends.Options())
    made.export(tmp_path, ())
    alone = loaded(tmp_path, "p").Module()
    for sizes in sample.sizes:
        at = {n.attrs["name"]: array for n, array in sample.inputs(node, sizes).items()}
        for name in alone.state:
            alone.state[name] = at[name]
            made.write(name, at[name])
        arrays = [at[n.attrs["name"]] for n in inputs]
        (wanted,) = made.call("f", arrays, dict(sizes))
        got = alone.f(*arrays, **{n: size for n, size in sizes.items() if n not in at})
        assert same({"": got}, {"": wanted})


def test_an_export_goes_on_where_the_process_was(tmp_path: Path) -> None:
    module, given = gx.compile(PROGRAMS["adam"](), backend="numpy"), batch("adam")
    losses = [module.train(*given) for _ in range(3)]
    module.export(tmp_path / "out")
    made = loaded(tmp_path / "out", "lenet").Module()
    assert same(made.state, module.state) and made.state["random.key"].tolist() == [0, 3]
    more = [(made.train(*given), module.train(*given)) for _ in range(3)]
    assert all(a == b for a, b in more) and len({float(x) for x in losses}) == 3
    assert same(made.state, module.state)


def test_gradients_of_a_recurrence_are_the_same_bits(tmp_path: Path) -> None:
    module, folder = exported(tmp_path, recurrent())
    given = batch("recurrent")
    np.savez(tmp_path / "in.npz", *given)
    script = """
    import recurrent
    data = np.load(sys.argv[1])
    np.savez(sys.argv[2], **recurrent.Module().gradients(y=data["arr_1"], xs=data["arr_0"]))
    """
    run_alone(folder, script, tmp_path / "in.npz", tmp_path / "out.npz")
    assert same(dict(np.load(tmp_path / "out.npz")), module.gradients(*given))


def test_a_stream_carries_on_from_step_to_step(tmp_path: Path) -> None:
    module, folder = exported(tmp_path, stream())
    script = """
    import stream
    module, h = stream.Module(), np.zeros((2, 4), "float32")
    for t in range(5):
        h, count = module.step(h, np.full((2, 3), t / 4))
    print(json.dumps([h.tobytes().hex(), int(count), int(module.state["steps"])]))
    """
    h = np.zeros((2, 4), "float32")
    for t in range(5):
        h, _ = module.step(h, np.full((2, 3), t / 4))
    assert json.loads(run_alone(folder, script)) == [h.tobytes().hex(), 4, 5]


# ---------------------------------------------------------------- the files


def functions_of(text: str) -> dict[str, str]:
    """Return the top-level functions of a source, text for text."""
    return {
        node.name: ast.get_source_segment(text, node) or ""
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef)
    }


@pytest.mark.parametrize("net", PROGRAMS)
def test_functions_are_those_of_the_process_text_for_text(tmp_path: Path, net: str) -> None:
    module, folder = exported(tmp_path, PROGRAMS[net]())
    ((name, source),) = module.report["source"].items()
    inside, outside = functions_of(source), functions_of((folder / name).read_text())
    assert {n: outside.get(n) for n in inside} == inside


def test_only_what_is_used_of_the_runtime_goes_along(tmp_path: Path) -> None:
    _, folder = exported(tmp_path, recurrent())
    own = {n for n in functions_of((folder / "recurrent.py").read_text()) if not n.startswith("_")}
    assert own == {"run", "gradients", "train"}
    assert sorted(contents(folder)) == [
        *("README.txt", "recurrent.py", "recurrent.safetensors"),
        *("recurrent_test.npz", "recurrent_test.py"),
    ]


@pytest.mark.parametrize("net", PROGRAMS)
def test_imports_are_numpy_and_the_standard_library(tmp_path: Path, net: str) -> None:
    _, folder = exported(tmp_path, PROGRAMS[net]())
    found = set()
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            if isinstance(node, ast.ImportFrom):
                found.add(str(node.module))
    assert {n.split(".")[0] for n in found} - sys.stdlib_module_names == {"numpy"}


@pytest.mark.parametrize("net", PROGRAMS)
def test_linters_find_no_fault(tmp_path: Path, net: str) -> None:
    _, folder = exported(tmp_path, PROGRAMS[net]())
    check_linted(folder)


EXPORTS = """
import sys
sys.path[:0] = sys.argv[1:3]
import graphc as gx
import numpy_exports as tests
for net in tests.PROGRAMS:
    gx.compile(tests.PROGRAMS[net](), backend="numpy").export(f"{sys.argv[3]}/{net}")
"""


def test_bytes_depend_on_no_hash_and_name_no_place(tmp_path: Path) -> None:
    here = Path(__file__).parent
    for seed in ("0", "1", "2"):
        subprocess.run(
            [sys.executable, "-c", EXPORTS, str(here), str(here.parent), str(tmp_path / seed)],
            env=os.environ | {"PYTHONHASHSEED": seed},
            cwd=tmp_path,
            check=True,
        )
    for net in PROGRAMS:
        files = [contents(tmp_path / seed / net) for seed in ("0", "1", "2")]
        assert files[0] == files[1] == files[2]
        places = [str(p).encode() for p in (tmp_path, Path.home(), Path(gx.__file__).parent)]
        named = [n for n, c in files[0].items() if any(p in c for p in places if len(p) > 2)]
        assert named == []


def test_large_constants_lie_beside_and_small_ones_in_the_text(tmp_path: Path) -> None:
    _, folder = exported(tmp_path, PROGRAMS["sgd"]())
    with np.load(folder / "lenet_constants.npz", allow_pickle=False) as held:
        (array,) = held.values()
    assert array.shape == (16, 8) and array[0, 0] == 0.5
    assert "_c2 = np.array([0, 1], np.uint64)" in (folder / "lenet.py").read_text()


TAKEN = ("Module", "State", "FUNCTIONS", "STATES", "json", "os", "Path", "np", "where", "print")


def test_names_of_python_and_of_the_module_itself_hide_nothing(tmp_path: Path) -> None:
    x, w = gx.input("np", ("N",)), gx.parameter("json", ())
    made = gx.function([x], {"Module": gx.where(x > 0, x * 2.0, w)})
    _, folder = exported(tmp_path, gx.Program("json", dict.fromkeys(TAKEN, made)))
    script = """
    import json_
    m = json_.Module()
    m.save(sys.argv[1])
    m.load(sys.argv[1])
    print(json.dumps([m.functions[n](np=[1, 2])["Module"].tolist() for n in m.functions]))
    """
    told = run_alone(folder, script, tmp_path / "saved")
    assert json.loads(told) == [[2.0, 4.0]] * len(TAKEN)
    check_linted(folder)


# ---------------------------------------------------------------- its own test


@pytest.mark.parametrize("net", PROGRAMS)
def test_its_own_test_replays_every_function(tmp_path: Path, net: str) -> None:
    module, folder = exported(tmp_path, PROGRAMS[net]())
    name = module.report["source"].popitem()[0].removesuffix(".py")
    assert replayed(folder, name) == (0, f"OK: {len(module.functions)} recorded calls\n")


def test_its_own_test_notices_a_changed_weight(tmp_path: Path) -> None:
    module, folder = exported(tmp_path, stream())
    module.state["U"] = module.state["U"] + np.float32(0.1)
    module.save(folder / "stream.safetensors")
    status, told = replayed(folder, "stream")
    assert status == 1 and told.startswith("FAILED: step: result 0 differs by 0.")


def test_its_own_test_notices_a_gradient_that_is_not_the_loss_s(tmp_path: Path) -> None:
    _, folder = exported(tmp_path, recurrent())
    with np.load(folder / "recurrent_test.npz") as file:
        recorded = dict(file)
    assert recorded["1_out1"].shape == (3, 4)
    recorded["1_out1"] = recorded["1_out1"] * np.float32(1.5)
    np.savez(folder / "recurrent_test.npz", **recorded)
    status, told = replayed(folder, "recurrent")
    assert status == 1
    assert "FAILED: gradients: the gradient by U is off by" in told


# ---------------------------------------------------------------- names

PLANT = "import pathlib; pathlib.Path('planted').touch()"
HOSTILE = [
    *('"', "'", "\\", "\n", "\r", "\t", "\0", "\x7f", "\x1b[31m", '"""', "'''", '\\"', "\\'"),
    *("# comment", "\\\n", "\u2028", "\u202e", "\ufeff", "é", "名", "\U0001f600", "\xa0", " "),
    *(f'"{PLANT}#', f"'; {PLANT} #", f'"""\n{PLANT}\n"""', f"\n{PLANT}\n", f"\r{PLANT}\r"),
    *(f"\\x22]; {PLANT} #", f"\u2028{PLANT}\u2028", f"\x0c{PLANT}\x0c", f"\\N{{DIGIT ONE}}{PLANT}"),
    *("{PLANT}", "%s", "$HOME", "`id`", "../up", "lambda", "np", "state", "_c1", "constants[0]"),
    *("__class__", "STATES", "x" * 300, "</script>", "*/", "//", "\\u0022", "]}", "@name@"),
]


def hostile() -> gx.Program:
    """Return a program whose names try to get out of where they stand."""
    x = gx.input("x", ("N",))
    total = x.sum()
    for i, name in enumerate(HOSTILE):
        with gx.scope(name):
            total = (total + gx.parameter(name, (), init=float(i))).named(name)
    return gx.Program("hostile", f=gx.function([x], total, updates=gx.sgd(total * total, lr=0.1)))


def test_hostile_names_inject_nothing(tmp_path: Path) -> None:
    assert len(HOSTILE) >= 30
    module, folder = exported(tmp_path, hostile())
    script = """
    import os
    os.chdir(sys.argv[1])
    import hostile
    m = hostile.Module()
    m.f([1, 2]), m.save("again")
    print(json.dumps([list(m.state), float(m.f([1]))]))
    """
    module.f([1, 2])
    assert json.loads(run_alone(folder, script, tmp_path)) == [list(module.state), module.f([1])]
    again = gx.compile(hostile(), backend="numpy")
    again.load(tmp_path / "again")
    assert replayed(folder, "hostile") == (0, "OK: 1 recorded calls\n")
    assert list(Path.cwd().glob("planted")) == list(tmp_path.rglob("planted")) == []


def test_hostile_names_stand_in_strings_and_comments_alone(tmp_path: Path) -> None:
    _, folder = exported(tmp_path, hostile())
    tree = ast.parse((folder / "hostile.py").read_text())
    words = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    words |= {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
    assert all(word.isascii() and word.isidentifier() for word in words)
    assert "pathlib" not in words
    strings = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)}
    assert {f"{name}.{name}" for name in HOSTILE} <= strings
    check_linted(folder)
