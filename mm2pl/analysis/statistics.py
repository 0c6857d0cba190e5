"""What analyzers have counted, module by module: in the model's text, and in a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from torch import nn

from mm2pl.analysis.complexity_analysis import ActivationAnalyzer, FlopAnalyzer, parameter_count
from mm2pl.analysis.formatting import _format_size, draw_table
from mm2pl.analysis.jit_analysis import JitModelAnalysis

Row = dict[str, str]

UNCALLED = (
    "N/A indicates a possibly missing statistic due to how the module was called. Missing values are still included "
    "in the parent's total.\n"
)
"""MMEngine 0.10.7's line; tools that read its output look for it."""


def complexity_stats_str(flops: FlopAnalyzer, activations: ActivationAnalyzer | None = None) -> str:
    """Return the model's text with the counts of each module, ``N/A`` where it was never called.

    A module for which nothing was counted has no counts. Stands for MMEngine's function of that name; both turn the
    analyzers' warnings off, for good.
    """
    model = flops._model
    counts, uncalled = _counted(model, {"#flops": flops, "#acts": activations}, "#params")
    never = set().union(*uncalled.values())
    rows: dict[str, Row] = {}
    for name, _ in model.named_modules():
        numbers = {column: values[name] for column, values in counts.items()}
        if any(numbers.values()) or name in (never or {""}):
            rows[name] = {
                column: "N/A" if name in uncalled.get(column, ()) else _format_size(number, 2)
                for column, number in numbers.items()
            }
    return (UNCALLED if never else "") + _text(model, rows)


def complexity_stats_table(
    flops: FlopAnalyzer,
    max_depth: int = 3,
    activations: ActivationAnalyzer | None = None,
    show_param_shapes: bool = True,
) -> str:
    """Return the counts of each module in a table; stands for MMEngine's function of that name.

    A module whose only child has the same counts shares its row. The warnings go as in `complexity_stats_str`.

    Args:
        flops: The flops, and the model.
        max_depth: How many levels below the model are listed.
        activations: For a third column.
        show_param_shapes: List each parameter too, with its shape.
    """
    model = flops._model
    first = "#parameters or shape" if show_param_shapes else "#parameters"
    counts, uncalled = _counted(model, {"#flops": flops, "#activations": activations}, first)
    shapes = {name: str(tuple(p.shape)) for name, p in model.named_parameters()}
    names = [*counts[first], *(name for name, _ in model.named_modules())]
    rows: dict[str, Row] = {}
    for name in dict.fromkeys(names):
        if name in shapes:
            if show_param_shapes:
                rows[name] = {first: shapes[name]}
            continue
        # A parameter of no elements counts for nothing, as do the modules that hold only such.
        if name and not any(values[name] for values in counts.values()):
            continue
        rows[name] = {
            column: "" if name in uncalled.get(column, ()) else _format_size(values[name])
            for column, values in counts.items()
            if name in values
        }
    return _table(rows, [*counts], max_depth)


def _counted(
    model: nn.Module, analyzers: Mapping[str, JitModelAnalysis | None], parameters: str
) -> tuple[dict[str, Counter[str]], dict[str, set[str]]]:
    """Return the counts by column and module, and by column the modules that never ran."""
    counts, uncalled = {parameters: parameter_count(model)}, {}
    for column, analyzer in analyzers.items():
        if analyzer is not None:
            analyzer.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
            analyzer.tracer_warnings("none")
            counts[column] = analyzer.by_module()
            uncalled[column] = analyzer.uncalled_modules()
    return counts, uncalled


def _text(module: nn.Module, rows: Mapping[str, Row], name: str = "") -> str:
    """Return ``repr(module)`` with a line of counts for each module that has any."""
    counts = ", ".join(f"{column}: {cell}" for column, cell in rows.get(name, {}).items())
    lines = [line for text in (module.extra_repr(), counts) for line in text.splitlines()]
    children = [
        f"({key}): {_text(child, rows, f'{name}.{key}'.lstrip('.'))}"
        for key, child in module._modules.items()
        if child is not None
    ]
    if len(lines) == 1 and not children:
        return f"{module._get_name()}({lines[0]})"
    body = "".join(f"\n{text}" for text in lines + children).replace("\n", "\n  ")
    return f"{module._get_name()}({body}\n)" if body else f"{module._get_name()}()"


def _table(rows: dict[str, Row], columns: list[str], max_depth: int) -> str:
    cells = [["module", *columns]]
    root = ""

    def write(name: str, depth: int) -> None:
        nonlocal root
        name, row = _joined(name, rows)
        root = root if depth else name
        shown = name.removeprefix(f"{root}.") if depth else name or "model"
        indent = " " * depth
        cells.append([f"{indent}{shown}", *(indent + row[c] if c in row else "" for c in columns)])
        if depth < max_depth:
            for child in _children(name, rows):
                write(child, depth + 1)

    write("", 0)
    return draw_table(cells)


def _children(name: str, rows: Iterable[str]) -> list[str]:
    return [each for each in rows if each and each.rpartition(".")[0] == name]


def _joined(name: str, rows: dict[str, Row]) -> tuple[str, Row]:
    """Go down while a module has one child with the same counts; return the last one, and the counts."""
    row = rows[name]
    while len(children := _children(name, rows)) == 1:
        child = rows[children[0]]
        # An empty cell agrees with any.
        if row.keys() != child.keys() or any(
            row[c] != child[c] and row[c] and child[c] for c in row
        ):
            break
        name, row = children[0], {c: row[c] or child[c] for c in row}
    return name, row
