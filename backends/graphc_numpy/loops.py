"""Loops: a scan becomes a Python ``for`` over its body's statements."""

from __future__ import annotations

from graphc import ir
from graphc.ir import Graph, Node
from graphc_numpy import comments
from graphc_numpy.body import Body
from graphc_numpy.expression import Text, dtype_text


def scan(node: Node, body: Body) -> Text:
    """Write a loop; its results get names, which ``result`` reads."""
    graph: Graph = node.attrs["body"]
    c, s, y = (node.attrs[k] for k in ("carries", "sequences", "stacked"))
    inner = body.inner(graph.outputs)
    given = [body.name(n).text for n in node.inputs]
    carries = [body.fresh("carry") for _ in range(c)]
    stacks = [body.fresh("stack") for _ in range(y)]
    sums = [body.fresh("total") for _ in graph.outputs[c + y :]]
    step = body.fresh("step")
    heads = [f"{name} = {value}" for name, value in zip(carries, given[:c], strict=True)]
    for name, output in zip(stacks, graph.outputs[c:], strict=False):
        shape = body.shape((node.attrs["length"], *output.shape))
        heads.append(f"{name} = np.empty({shape}, {dtype_text(output.dtype)})")
    for name, output in zip(sums, graph.outputs[c + y :], strict=True):
        heads.append(f"{name} = np.zeros({body.shape(output.shape)}, {dtype_text(output.dtype)})")
    walk = f"range({body.size(node.attrs['length'])})"
    heads.append(f"for {step} in {f'reversed({walk})' if node.attrs['reverse'] else walk}:")
    body.write(*heads)
    texts = [*carries, *(f"{x}[{step}]" for x in given[c : c + s]), *given[c + s :]]
    statements = _bound(inner, graph, texts, step)
    inner.run()
    outputs = [inner.name(n).text for n in graph.outputs]
    statements += [line for line in comments.rendered(inner.lines, freeing=False, kept=()) if line]
    for name, value in zip(stacks, outputs[c : c + y], strict=True):
        statements.append(f"{name}[{step}] = {value}")
    for name, value in zip(sums, outputs[c + y :], strict=True):
        statements.append(f"{name} = {name} + {value}")
    if c:
        statements.append(f"{', '.join(carries)} = {', '.join(outputs[:c])}")
    body.write(*(f"    {line}" for line in statements or ["pass"]))
    body.results[node] = [*carries, *stacks, *sums]
    return Text(step)


def _bound(inner: Body, graph: Graph, texts: list[str], step: str) -> list[str]:
    """Name the body's leaves; return the statements that give the steps of sequences names."""
    statements = []
    for leaf, text in zip(graph.inputs[:-1], texts, strict=True):
        if "[" in text:
            statements.append(f"{inner.bind(leaf, 'x')} = {text}")
        else:
            inner.alias(leaf, text)
    if graph.inputs[-1] in ir.topological(graph.outputs):
        statements.append(f"{inner.bind(graph.inputs[-1], 't')} = np.int64({step})")
    return statements


def result(node: Node, body: Body) -> Text:
    """Return the name of one result of a loop."""
    body.operand(node.inputs[0])
    return Text(body.results[node.inputs[0]][node.attrs["index"]])
