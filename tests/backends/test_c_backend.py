"""The C back end as a whole: plans, sources, arena, states, the cache."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest

import graphc as gx
from graphc.errors import IndexRangeError
from graphc.ir import Program
from graphc.passes import pipeline
from graphc_c import emit, memory, toolchain
from graphc_c.cwriter import escaped
from graphc_c.lower import lower
from graphc_c.plan import ProgramPlan

pytestmark = pytest.mark.cc

NET = """
import graphc as gx
def net(name="net"):
    x = gx.input("x", ("N", 1, 8, 8))
    y = gx.input("y", ("N",), dtype="int64")
    h = gx.avg_pool2d(gx.nn.Conv2d(3, 3, name="c1")(x).tanh(), 2).flatten(1)
    logits = gx.nn.Dense(4, name="out")(gx.dropout(h, 0.25))
    loss = gx.cross_entropy(logits, y)
    return gx.Program(
        name,
        predict=gx.function([x], gx.softmax(logits)),
        train=gx.function([x, y], loss, updates=gx.sgd(loss, lr=0.1)),
    )
"""
_NAMES: dict[str, object] = {}
exec(compile(NET, __file__, "exec"), _NAMES)


def net() -> gx.Program:
    """Return a small convolutional net with dropout."""
    made = _NAMES["net"]()  # type: ignore[operator]
    assert isinstance(made, gx.Program)
    return made


def planned(program: gx.Program) -> ProgramPlan:
    """Return the plan of a program."""
    return lower(pipeline.canonical(program.ir))


def source(program: gx.Program) -> str:
    """Return all that is emitted for a program."""
    made = planned(program)
    return "".join(text for text, _ in emit.sources(made).values())


def batch(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return images and labels."""
    generator = np.random.default_rng(seed)
    images = generator.standard_normal((n, 1, 8, 8)).astype("float32")
    return images, generator.integers(0, 4, n)


def test_equal_programs_give_byte_identical_sources_in_every_process(tmp_path: Path) -> None:
    script = NET + textwrap.dedent(
        """
        from graphc.passes import pipeline
        from graphc_c import emit
        from graphc_c.lower import lower
        for name, (text, _) in emit.sources(lower(pipeline.canonical(net().ir))).items():
            print(name, text)
        """
    )
    path = tmp_path / "net.py"
    path.write_text(script)
    texts = {
        subprocess.run(
            [sys.executable, str(path)],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "4242")
    }
    assert len(texts) == 1 and b"gx_f1_call" in texts.pop()


def test_the_second_compile_comes_from_the_cache_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path / "a cache"))
    first, second = (gx.compile(net(), backend="c") for _ in range(2))
    assert (first.report["cache"], second.report["cache"]) == ("miss", "hit")
    assert first.report["source"] == second.report["source"]


def test_one_compile_serves_every_batch_size() -> None:
    module = gx.compile(net(), backend="c")
    images, _ = batch(67)
    whole = module.predict(images)
    for n in (1, 2, 3, 17, 64, 67, 1):
        np.testing.assert_allclose(module.predict(images[:n]), whole[:n], rtol=2e-6)


def test_buffers_that_live_at_once_do_not_share_memory() -> None:
    for plan in planned(net()).plans:
        spans = memory.lifetimes(plan)
        assert all(first <= last for first, last in spans)
        assert len(spans) == len(plan.arena)
        written = [{v.buffer for v in k.writes} for k in plan.kernels]
        for buffer, (first, _) in zip(plan.arena, spans, strict=True):
            assert buffer in written[first], "a buffer's life begins with what writes it"


def test_equal_descriptors_are_one_function() -> None:
    x = gx.input("x", ("N", 8))
    a = gx.nn.Dense(8, name="a")(x).tanh()
    b = gx.nn.Dense(8, name="b")(a).tanh()
    text = source(gx.Program("twice", run=gx.function([x], b)))
    assert len(re.findall(r"^void gx_matmul_\w+\(", text, re.MULTILINE)) == 1
    assert len(re.findall(r"^  gx_matmul_\w+\(", text, re.MULTILINE)) == 2


def test_descriptors_name_no_size_of_the_users() -> None:
    def text(size: str) -> set[str]:
        x = gx.input("x", (size, 4))
        return set(
            re.findall(r"gx_elementwise_\w+", source(gx.Program("p", run=gx.function([x], x * 2))))
        )

    assert text("N") == text("batch")


@pytest.mark.parametrize(
    "name", ["int", "a-b", '"', "*/", "a\nb", "\\", "??/", "🙂", "x" * 10_000, "/*", "%s", "#"]
)
def test_names_reach_comments_only_and_end_none(name: str) -> None:
    shown = escaped(name)
    assert shown.isascii() and shown.isprintable() and len(shown) < 2_000
    assert "*/" not in shown and "/*" not in shown and "\\" not in shown and "??" not in shown
    x = gx.input("x", ("N",))
    w = gx.parameter(name, (), init=2.0)
    module = gx.compile(gx.Program("p", run=gx.function([x], (x * w).named(name))), backend="c")
    np.testing.assert_array_equal(module.run([1, 2]), np.array([2, 4], "float32"))


def test_an_index_out_of_range_stops_the_call_before_any_state_changes() -> None:
    x = gx.input("x", ("N",))
    table = gx.parameter("table", (5,), init=np.arange(5.0))
    computed = gx.cast(x * 2, "int64")
    value = gx.take(table, computed).sum()
    program = gx.Program("p", run=gx.function([x], value, updates={table: table + 1}))
    module = gx.compile(program, backend="c")
    assert module.run([0, 1, 2]) == 6
    before = module.state["table"]
    with pytest.raises(IndexRangeError, match="take: an index is 6, outside 0 … 4"):
        module.run([0, 3])
    np.testing.assert_array_equal(module.state["table"], before)


def test_updates_are_simultaneous() -> None:
    a, b = gx.state("a", (3,), 1.0), gx.state("b", (3,), 2.0)
    module = gx.compile(
        gx.Program("swap", run=gx.function([], a + b, updates={a: b, b: a})), backend="c"
    )
    for expected in ((2, 1), (1, 2), (2, 1)):
        np.testing.assert_array_equal(module.run(), [3, 3, 3])
        assert (module.state["a"][0], module.state["b"][0]) == expected


def test_outputs_are_fresh_arrays() -> None:
    x = gx.input("x", ("N",))
    s = gx.state("s", (2,), 7.0)
    outputs = {"x": x, "again": x, "s": s, "flat": x.reshape(-1, 1), "c": gx.ones((2,))}
    module = gx.compile(gx.Program("p", run=gx.function([x], outputs)), backend="c")
    given = np.array([1.0, 2.0], "float32")
    results = module.run(given)
    for key, array in results.items():
        array[...] = -1
        others = [v for k, v in results.items() if k != key]
        assert not any(np.shares_memory(array, o) for o in (*others, given))
    np.testing.assert_array_equal(given, [1, 2])
    np.testing.assert_array_equal(module.state["s"], [7, 7])


def test_modules_of_one_program_have_states_of_their_own() -> None:
    one, other = (gx.compile(net(), backend="c") for _ in range(2))
    other.init(seed=5)
    images, labels = batch(16)
    before = {k: v.copy() for k, v in other.state.items()}
    one.train(images, labels)
    for key, value in before.items():
        np.testing.assert_array_equal(other.state[key], value)


def test_threads_may_call_one_module() -> None:
    module = gx.compile(net(), backend="c")
    sizes = (1, 5, 33, 64)
    expected = {n: module.predict(batch(n)[0]) for n in sizes}
    wrong: list[int] = []

    def work(n: int) -> None:
        for _ in range(50):
            if not np.array_equal(module.predict(batch(n)[0]), expected[n]):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in sizes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_generated_sources_compile_without_a_warning(tmp_path: Path) -> None:
    made = planned(net())
    for name, text in emit.headers(made).items():
        (tmp_path / name).write_text(text)
    strict = ("-std=c11", "-O2", "-Wall", "-Wextra", "-pedantic", "-Werror")
    command = [*toolchain.find_compiler().command, *strict]
    for name, (text, _) in emit.sources(made).items():
        (tmp_path / name).write_text(text)
        done = subprocess.run(
            [*command, "-c", name],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def test_generated_text_holds_no_absolute_path() -> None:
    assert str(Path.cwd()) not in source(net()) and "/tmp" not in source(net())


def test_a_plan_reads_only_what_is_written() -> None:
    program: Program = pipeline.canonical(net().ir)
    for plan in lower(program).plans:
        written = set()
        for kernel in plan.kernels:
            arena = {
                v.buffer for v in kernel.reads if v.buffer.storage in ("arena", "result", "next")
            }
            assert arena <= written
            written |= {v.buffer for v in kernel.writes}
