"""The example of an exported module: a call of every function with made-up numbers.

Where the program learns from samples and labels it also trains, as `export_training` writes.
"""

from __future__ import annotations

from collections.abc import Mapping

from graphc.backend import Case
from graphc_c import export_training
from graphc_c.cwriter import CTYPES
from graphc_c.export_c import filled
from graphc_c.export_names import Face, Module

_START = ("    status = trained(s, count, words);", "    free(s);", "    return status;", "  }")


def example(module: Module, cases: Mapping[str, Case]) -> str:
    """Return ``example.c``."""
    called = [(f, cases[f.function.name]) for f in module.faces if f.function.name in cases]
    functions = [_called(module, face, case) for face, case in called]
    calls = []
    for face, _ in called:
        call = f"    status = call_{face.symbol}(s);"
        calls += [f"  if (status == {module.macro}OK) {{", call, "  }"]
    training = export_training.find(module)
    given = "count > 1"
    if training is not None:
        functions.append(export_training.source(module, training))
        given = "count == 2"
        calls = [f"  if (status == {module.macro}OK && count > 2) {{", *_START, *calls]
    return filled(
        "example.c.in",
        name=module.name,
        p=module.prefix,
        m=module.macro,
        functions="\n".join(functions),
        calls="\n".join(calls),
        weights=f'{given} ? words[1] : "{module.name}.safetensors"',
        usage=export_training.usage(training).replace("\n", "\n *   "),
    )


def _called(module: Module, face: Face, case: Case) -> str:
    sizes = [str(case.sizes[n]) for n in face.plan.sizes]
    p = module.prefix
    lines = [f"static int call_{face.symbol}({p}state *s) {{"]
    lines.append(f"  size_t needed = {face.symbol}_work_size({', '.join(sizes)});")
    lines.append("  void *work = block(needed);")
    words = ["s", "work", *sizes]
    for letter, arrays in (("x", case.inputs), ("r", case.outputs)):
        for i, array in enumerate(arrays):
            lines.append(f"  {CTYPES[array.dtype.name]} *{letter}{i} = block({array.nbytes});")
            words.append(f"{letter}{i}")
    for i, array in enumerate(case.inputs):
        if array.dtype.name.startswith("float"):
            seven = "7.0f" if array.dtype.name == "float32" else "7.0"
            lines.append(f"  for (int i = 0; i < {array.size}; i++) {{")
            lines.append(f"    x{i}[i] = (i % 7 - 3) / {seven};")
            lines.append("  }")
    lines.append(f"  int status = {p}work_init(work, needed);")
    lines.append(f"  if (status == {module.macro}OK) {{")
    lines.append(f"    status = {face.symbol}({', '.join(words)});")
    lines.append("  }")
    lines.append(f'  printf("{face.function.name}: %s", {p}status_text(status));')
    for i, array in enumerate(case.outputs):
        if array.size:
            lines.append(f'  printf("  {face.outputs[i]}[0] = %g", (double)r{i}[0]);')
    lines.append('  printf("\\n");')
    lines += [f"  free({w});" for w in words[1:] if w[0] in "wxr"]
    return "\n".join([*lines, "  return status;", "}", ""])
