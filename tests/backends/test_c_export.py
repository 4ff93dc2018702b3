"""Exported C projects: they build strictly, test themselves, and compute as in process."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import graphc as gx
from graphc.errors import CallError

pytestmark = pytest.mark.cc
STRICT = "-Wall -Wextra -pedantic -Werror"
QUICK = "EXTRA=-O1"  # for tests in which the speed of what is built does not matter
COMPILERS = [c for c in ("gcc", "clang") if shutil.which(c)] or ["cc"]


def mlp(name: str = "mlp") -> gx.Program:
    """Return a perceptron with dropout and momentum-free descent; ids are looked up."""
    x, y = gx.input("x", ("N", 5)), gx.input("y", ("N",), dtype="int64")
    h = gx.dropout(gx.nn.Dense(7, name="hidden")(x).tanh(), 0.3)
    logits = gx.nn.Dense(4, name='out "é" \\ ?? */')(h)
    loss = gx.cross_entropy(logits, y)
    hits = (logits.argmax(axis=1) == y).sum()
    return gx.Program(
        name,
        predict=gx.function([x], gx.softmax(logits)),
        evaluate=gx.function([x, y], {"loss": loss, "work": hits}),
        train=gx.function([x, y], loss, updates=gx.sgd(loss, lr=0.1)),
    )


def lenet() -> gx.Program:
    """Return a small convolutional net with every pool."""
    x, y = gx.input("x", ("N", 1, 12, 12)), gx.input("y", ("N",), dtype="int64")
    h = gx.max_pool2d(gx.nn.Conv2d(3, 3, padding=1, name="c1")(x).tanh(), 2)
    h = gx.avg_pool2d(gx.nn.Conv2d(4, 3, name="c2")(h).relu(), 2).flatten(1)
    logits = gx.nn.Dense(4, name="out")(h)
    loss = gx.cross_entropy(logits, y)
    return gx.Program(
        "lenet",
        predict=gx.function([x], (gx.softmax(logits), logits.argmax(axis=1))),
        train=gx.function([x, y], loss, updates=gx.sgd(loss, lr=0.1)),
        gradients=gx.function([x, y], {n: g for n, g in named_gradients(loss).items()}),
    )


def named_gradients(loss: gx.Tensor) -> dict[str, gx.Tensor]:
    """Return the gradients of a loss by parameter name."""
    grads = gx.grad(loss)
    return {name.replace(".", "_"): grads[p] for name, p in gx.parameters(loss).items()}


NETS = {"mlp": (mlp, (5,)), "lenet": (lenet, (1, 12, 12))}


def make(folder: Path, *words: str) -> str:
    """Run make, and return what it says."""
    done = subprocess.run(
        ["make", "-C", str(folder), *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def exported(tmp_path: Path, net: str) -> tuple[gx.Module, Path]:
    """Return a module and its project, in a folder with a space."""
    module = gx.compile(NETS[net][0](), backend="c")
    folder = tmp_path / "a project"
    module.export(folder)
    return module, folder


def batch(net: str, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs and labels."""
    generator = np.random.default_rng(seed)
    x = generator.standard_normal((n, *NETS[net][1])).astype("float32")
    return x, generator.integers(0, 4, n)


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("net", NETS)
def test_it_builds_without_a_warning_and_passes_its_own_test(
    tmp_path: Path, net: str, compiler: str
) -> None:
    _, folder = exported(tmp_path, net)
    make(folder, f"CC={compiler}", f"EXTRA={STRICT}")
    assert f"{net}: all well" in make(folder, "check", f"CC={compiler}", f"EXTRA={STRICT}")
    done = subprocess.run(["./example"], cwd=folder, capture_output=True, text=True, check=True)
    assert "train: success" in done.stdout


@pytest.mark.parametrize("net", ["mlp"])
def test_sanitizers_report_nothing_but_a_planted_fault(tmp_path: Path, net: str) -> None:
    _, folder = exported(tmp_path, net)
    flags = "EXTRA=-g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all"
    assert "all well" in make(folder, "check", "CC=gcc", flags)
    test = folder / f"{net}_test.c"
    text = test.read_text()
    assert "block(needed)" in text
    test.write_text(text.replace("block(needed)", "block(needed / 2)"))
    make(folder, f"{net}_test", "CC=gcc", flags)
    done = subprocess.run(
        [f"./{net}_test"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0 and "AddressSanitizer: heap-buffer-overflow" in done.stderr


def test_its_own_test_notices_a_changed_weight(tmp_path: Path) -> None:
    _, folder = exported(tmp_path, "mlp")
    weights = folder / "mlp.safetensors"
    content = bytearray(weights.read_bytes())
    content[-8:] = np.array([3.0, 3.0], "<f4").tobytes()
    weights.write_bytes(content)
    make(folder, QUICK)
    done = subprocess.run(["./mlp_test"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "FAILED: predict: out0[0]" in done.stdout


def run_alone(folder: Path, net: str, script: str, *words: str) -> str:
    """Run a script where graphc cannot be imported, and return what it prints."""
    head = f"""
    import sys
    class Refused:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0].startswith("graphc"):
                raise ImportError(name)
    sys.meta_path.insert(0, Refused())
    sys.path.insert(0, {str(folder)!r})
    import json
    import numpy as np
    import {net} as exported
    """
    text = textwrap.dedent(head) + textwrap.dedent(script)
    done = subprocess.run(
        [sys.executable, "-I", "-c", text, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


TRAIN = """
module = exported.Module(sys.argv[1])
data = np.load(sys.argv[2])
losses = [module.train(data["x"], data["y"]) for _ in range(5)]
predicted = module.predict(data["x"])
predicted = predicted[0] if isinstance(predicted, tuple) else predicted
module.save(sys.argv[3])
np.savez(sys.argv[4], losses=np.array(losses), predicted=predicted)
"""


@pytest.mark.parametrize("native", [True, False], ids=["native", "portable"])
@pytest.mark.parametrize("net", NETS)
def test_five_steps_give_what_they_give_in_process(tmp_path: Path, net: str, native: bool) -> None:
    module, folder = exported(tmp_path, net)
    make(folder, "CC=cc", "NATIVE=1" if native else QUICK)
    x, y = batch(net, 19)
    np.savez(tmp_path / "in.npz", x=x, y=y)
    places = [folder / f"{net}.safetensors", tmp_path / "in.npz", tmp_path / "after.safetensors"]
    run_alone(folder, net, TRAIN, *map(str, places), str(tmp_path / "out.npz"))
    losses = np.array([module.train(x, y) for _ in range(5)])
    predicted = module.predict(x)
    predicted = predicted[0] if isinstance(predicted, tuple) else predicted
    found = np.load(tmp_path / "out.npz")
    # The same text for the same target gives the same bits; else sums differ in their order.
    tolerance = 0 if native and not os.environ.get("GRAPHC_CC") else 1e-5
    np.testing.assert_allclose(found["losses"], losses, rtol=tolerance)
    np.testing.assert_allclose(found["predicted"], predicted, rtol=tolerance, atol=tolerance)
    other = gx.compile(NETS[net][0](), backend="c")
    other.load(tmp_path / "after.safetensors")
    for name, value in module.state.items():
        np.testing.assert_allclose(other.state[name], value, rtol=0, atol=tolerance)


def test_the_wrapper_refuses_what_does_not_fit_and_changes_nothing(tmp_path: Path) -> None:
    _, folder = exported(tmp_path, "mlp")
    gx.compile(lenet(), backend="c").save(tmp_path / "other.safetensors")
    make(folder, QUICK)
    script = """
    m, other = exported.Module(sys.argv[1]), exported.Module(sys.argv[1])
    x, y = np.ones((3, 5), "float32"), [0, 1, 2]
    before = {k: v.copy() for k, v in m.state.items()}
    content = open(sys.argv[1], "rb").read()
    short = sys.argv[1] + ".short"
    open(short, "wb").write(content[:-1])
    attempts = [
        lambda: m.train(x, [0, 1, 4]), lambda: m.train(x, [0, 1]), lambda: m.train(x[:0], y[:0]),
        lambda: m.train(x), lambda: m.load(sys.argv[2]), lambda: m.load(short),
        lambda: m.train(x, y, z=1), lambda: m.train(x.astype("complex64"), y),
    ]
    told = []
    for attempt in attempts:
        try:
            attempt()
        except Exception as error:
            told.append([type(error).__name__, str(error)])
    same = all(np.array_equal(m.state[k], before[k]) for k in before)
    m.train(x, y)
    apart = all(np.array_equal(other.state[k], before[k]) for k in before)
    moved = not np.array_equal(m.state["hidden.weight"], before["hidden.weight"])
    print(json.dumps([told, same, apart, moved, sorted(m.evaluate(x, y)), sorted(m.functions)]))
    """
    places = (str(folder / "mlp.safetensors"), str(tmp_path / "other.safetensors"))
    told, *facts = json.loads(run_alone(folder, "mlp", script, *places))
    assert told == [
        ["IndexError", "mlp: an index lies outside its axis"],
        ["ValueError", "train: y has shape [2] instead of [3]"],
        ["ValueError", "mlp: the sizes do not fit"],
        ["TypeError", "train lacks y: train: x float32[N, 5], y int64[N] -> out0 float32[]"],
        ["ValueError", "mlp: these are weights of another program"],
        ["ValueError", "mlp: this is no safetensors file, or a damaged one"],
        ["TypeError", "train: 'z' is given twice or unknown"],
        ["TypeError", "train: x is complex64, which does not convert to float32"],
    ]
    assert facts == [True, True, True, ["loss", "work"], ["evaluate", "predict", "train"]]


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files of a folder."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_equal_programs_give_equal_bytes_without_places(tmp_path: Path) -> None:
    _, first = exported(tmp_path / "one", "lenet")
    _, second = exported(tmp_path / "two", "lenet")
    files = contents(first)
    assert files == contents(second)
    here = [
        str(tmp_path).encode(),
        str(Path.home()).encode(),
        str(Path(gx.__file__).parent).encode(),
    ]
    assert [n for n, text in files.items() if any(h in text for h in here if len(h) > 2)] == []


def test_what_the_library_saves_is_the_file_that_it_loaded(tmp_path: Path) -> None:
    module, folder = exported(tmp_path, "mlp")
    make(folder, QUICK)
    script = "exported.Module(sys.argv[1]).save(sys.argv[2])"
    places = folder / "mlp.safetensors", tmp_path / "again.safetensors"
    run_alone(folder, "mlp", script, *map(str, places))
    assert places[0].read_bytes() == places[1].read_bytes()
    module.state["hidden.bias"] = np.ones(7)
    assert module.load(places[1]) == {} and not module.state["hidden.bias"].any()


def test_only_what_is_used_of_the_runtime_goes_along(tmp_path: Path) -> None:
    _, folder = exported(tmp_path, "mlp")
    held = {p.name for p in (folder / "runtime").iterdir()}
    assert {"gx_gemm.h", "gx_random.h", "gx_module.h"} <= held
    assert not held & {"gx_conv.h", "gx_pool.h"}


def test_the_library_needs_no_more_than_memory_functions_and_libm(tmp_path: Path) -> None:
    _, folder = exported(tmp_path, "lenet")
    make(folder, "liblenet.a", "CC=gcc", QUICK)
    told = subprocess.run(
        ["nm", "-u", "liblenet.a"], cwd=folder, capture_output=True, text=True, check=True
    ).stdout
    wanted = {name.split("@")[0] for name in re.findall(r"^\s+U (\S+)", told, re.MULTILINE)}
    outside = {n for n in wanted if not n.startswith(("lenet_", "_GLOBAL_OFFSET"))}
    allowed = {"memcpy", "memset", "memcmp", "memmove", "strlen", "strcmp", "strchr"}
    assert outside <= allowed | {"exp", "log", "tanh", "sqrtf", "powf", "fmodf", "floorf"}
    defined = subprocess.run(
        ["nm", "-P", "liblenet.a"], cwd=folder, capture_output=True, text=True, check=True
    ).stdout
    assert re.findall(r"^\S+ [BbDC] ", defined, re.MULTILINE) == [], "no variable is global"


def test_a_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    module, folder = exported(tmp_path, "mlp")
    before = contents(folder)
    with pytest.raises(
        CallError, match=r"is not empty: it holds Makefile, README.txt, example.c, …"
    ):
        module.export(folder)
    assert contents(folder) == before
    module.state["sgd.lr"] = 0.5
    module.export(folder, force=True)
    assert contents(folder)["mlp.safetensors"] != before["mlp.safetensors"]
    with pytest.raises(CallError, match="is no folder to write into"):
        module.export(folder / "Makefile")


def test_an_export_leaves_the_module_as_it_was(tmp_path: Path) -> None:
    module = gx.compile(mlp(), backend="c")
    before = {name: value.copy() for name, value in module.state.items()}
    module.export(tmp_path / "out")
    assert all(np.array_equal(module.state[n], v) for n, v in before.items())


def test_programs_of_every_kind_build_and_agree(tmp_path: Path) -> None:
    x, c = gx.input("x", ("N", 2, "H", "W")), gx.input("c", (), dtype="bool")
    ids, q = gx.input("ids", ("N",), dtype="int32"), gx.input("q", ("N", "N"), dtype="float64")
    table = gx.parameter("table", (11, 3))
    image = gx.nn.Conv2d(3, 3, stride=2, name="c")(x)
    program = gx.Program(
        "kinds",
        image=gx.function([x], {"all": image, "part": (image.sum(), [x[:, 0] > 0])}),
        halve=gx.function([ids], table[ids], updates={table: table * 0.5}),
        square=gx.function([q], (q @ q, q.sum(axis=0))),
        choose=gx.function([c], gx.where(c, 1.0, 2.0)),
        nothing=gx.function([], table.sum()),
    )
    module = gx.compile(program, backend="c")
    module.export(tmp_path / "kinds")
    assert "all well" in make(tmp_path / "kinds", "all", "check", f"EXTRA={STRICT}")
    script = """
    m = exported.Module(sys.argv[1])
    x = np.arange(2 * 2 * 9 * 7, dtype="float32").reshape(2, 2, 9, 7) % 11
    def refused(call):
        try:
            call()
        except Exception as error:
            return str(error)
    images = m.image(x)
    print(json.dumps([
        images["all"].tolist(), images["part"][1][0].dtype.name, m.halve([1, 10]).tolist(),
        m.halve([1, 10]).tolist(), [a.tolist() for a in m.square(np.eye(3) * 3)],
        float(m.choose(True)), float(m.nothing()), refused(lambda: m.image(x[:, :, :2])),
    ]))
    """
    told = json.loads(run_alone(tmp_path / "kinds", "kinds", script, str(weights_of(tmp_path))))
    images = np.arange(2 * 2 * 9 * 7, dtype="float32").reshape(2, 2, 9, 7) % 11
    np.testing.assert_allclose(told[0], module.image(images)["all"], rtol=1e-5, atol=1e-5)
    assert told[1] == "bool"
    rows = module.halve([1, 10])
    np.testing.assert_array_equal(told[2:4], [rows, rows / 2])
    assert told[4] == [(np.eye(3) * 9).tolist(), [3.0, 3.0, 3.0]] and told[5] == 1.0
    assert told[6] == pytest.approx(float(module.nothing()) / 2, rel=1e-5)
    assert told[7] == "kinds: the sizes do not fit"


def weights_of(folder: Path) -> Path:
    """Return the weights of the project of that test."""
    return folder / "kinds" / "kinds.safetensors"


def test_a_program_without_states_or_floats_builds(tmp_path: Path) -> None:
    ids = gx.input("ids", ("N",), dtype="int32")
    gx.compile(gx.Program("plain", f=gx.function([ids], ids + 1)), backend="c").export(tmp_path)
    assert "all well" in make(tmp_path, "check", f"EXTRA={STRICT}")


def test_instances_in_two_threads_are_independent(tmp_path: Path) -> None:
    _, folder = exported(tmp_path, "mlp")
    make(folder, QUICK)
    script = """
    import threading
    x = np.random.default_rng(0).standard_normal((64, 5)).astype("float32")
    y = np.arange(64) % 4
    modules = [exported.Module(sys.argv[1]) for _ in range(3)]
    def run(m):
        m.losses = [float(m.train(x, y)) for _ in range(200)]
    threads = [threading.Thread(target=run, args=(m,)) for m in modules[:2]]
    [t.start() for t in threads], [t.join() for t in threads], run(modules[2])
    print(json.dumps([m.losses == modules[2].losses for m in modules]))
    """
    assert (
        json.loads(run_alone(folder, "mlp", script, str(folder / "mlp.safetensors"))) == [True] * 3
    )


HOSTILE = ("s", "NULL", "new", "uint8_t", "gx_dims", "main")


def test_hostile_names_build_and_two_modules_link_into_one_program(tmp_path: Path) -> None:
    xs = [gx.input(n, ("NAN", "work_size")) for n in HOSTILE]
    w = gx.parameter('*/ "\\ \n??/', (2,), init=1.0)
    total = sum((x.sum() for x in xs), w.sum())
    made = gx.function(xs, {"int": total, "a_b": total * 2.0, "s": total * 3.0})
    for name in ("gx", "example"):
        program = gx.Program(name, call=made, find=made, call_work_size=made, function=made)
        gx.compile(program, backend="c").export(tmp_path / name)
        make(tmp_path / name, f"EXTRA={STRICT} -O1")
        assert "all well" in make(tmp_path / name, "check", f"EXTRA={STRICT} -O1")
    linked = ["gcc", "-shared", "-o", "both.so", "-Wl,--whole-archive"]
    archives = ["gx/libgx.a", "example/libexample.a", "-Wl,--no-whole-archive", "-lm"]
    subprocess.run([*linked, *archives], cwd=tmp_path, check=True, capture_output=True)
