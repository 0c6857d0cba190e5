"""Sums over the operators of a traced model, by module and by operator."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from numbers import Number
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from torch.jit import TracerWarning

from mm2pl.analysis.jit_handles import Handle
from mm2pl.errors import ReadableKeyError
from mm2pl.logging import print_log

Analysis = TypeVar("Analysis", bound="JitModelAnalysis")

_FREE = """
    Int ScalarImplicit size to type_as copy_ contiguous detach dropout
    empty new_empty zeros new_zeros zeros_like ones full new_full full_like arange
    view reshape flatten permute transpose t squeeze unsqueeze unsqueeze_ expand
    cat stack chunk split split_with_sizes unbind narrow select slice roll constant_pad_nd
    index index_put_ gather masked_fill nonzero
    eq ge gt max __and__ bitwise_not clamp clamp_ relu relu_ floor floor_divide remainder
"""
_IGNORED_OPS = frozenset(f"aten::{name}" for name in _FREE.split())
"""Operators that cost nothing worth counting."""

# nn.Identity is often a placeholder that nobody calls.
_CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.Module, nn.Identity)
"""Modules with these classes' ``forward`` are not expected to be called."""

WARNINGS = {"all": (), "no_tracer_warning": (TracerWarning,), "none": (Warning,)}
"""Mode → what is not shown while tracing."""


@dataclass
class Statistics:
    """What a trace gave, by the canonical names of modules."""

    counts: dict[str, Counter[str]]
    unsupported_ops: dict[str, Counter[str]]
    uncalled_mods: set[str]


def _all_names(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield all modules, a shared one under each of its names."""
    # By `_modules`, not `named_modules`, which leaves out the second name of a shared module.
    yield name, module
    for child, submodule in module._modules.items():
        if submodule is not None:
            yield from _all_names(submodule, f"{name}.{child}" if name else child)


class JitModelAnalysis:
    """Sum a quantity over the operators that a model runs; stands for MMEngine's class of that name.

    The model is traced when a result is first asked for, and again after a change of the handles. An
    operator counts for the module that is running and for those that own it. A module with several
    names goes by its first one, and ``''`` is the model.

    Args:
        model: In the mode (train or eval) that is meant.
        inputs: A tensor or a tuple, as `torch.jit.trace` takes them.

    Example:
        >>> from mm2pl.analysis.jit_handles import generic_activation_jit
        >>> analysis = JitModelAnalysis(nn.Sequential(nn.Linear(3, 2)), torch.ones(5, 3))
        >>> analysis.set_op_handle("aten::linear", generic_activation_jit()).by_module()
        Counter({'': 10, '0': 10})
    """

    def __init__(self, model: nn.Module, inputs: Any) -> None:
        self._op_handles: dict[str, Handle] = {}
        self._ignored_ops: set[str] = set(_IGNORED_OPS)
        self._enable_warn_unsupported_ops = True
        self._enable_warn_uncalled_mods = True
        self._warn_trace = "no_tracer_warning"
        self._ancestor_mode = "owner"
        self._attach(model, inputs)

    def _attach(self, model: nn.Module, inputs: Any) -> None:
        self._model = model
        self._inputs = inputs
        self._named_modules = dict(_all_names(model))
        first: dict[nn.Module, str] = {}
        self._aliases = {n: first.setdefault(m, n) for n, m in self._named_modules.items()}
        # A trace costs a forward pass, so it waits for the first question.
        self._stats: Statistics | None = None

    def total(self, module_name: str = "") -> Any:
        """Return the sum for a module."""
        return sum(self.by_operator(module_name).values())

    def by_operator(self, module_name: str = "") -> Counter[str]:
        """Return a module's sums, by operator."""
        return self._analyze().counts[self.canonical_module_name(module_name)]

    def by_module_and_operator(self) -> dict[str, Counter[str]]:
        """Return the sums by module, and there by operator."""
        return self._analyze().counts

    def by_module(self) -> Counter[str]:
        """Return the sums by module."""
        sums: Counter[str] = Counter()
        for name, counts in self._analyze().counts.items():
            sums[name] = sum(counts.values())
        return sums

    def unsupported_ops(self, module_name: str = "") -> Counter[str]:
        """Return how often an operator came that has no handle and is not ignored.

        Raises:
            RuntimeError: No result was asked for yet.
        """
        if self._stats is None:
            raise RuntimeError("unsupported_ops() is known after a result, such as total()")
        return self._stats.unsupported_ops[self.canonical_module_name(module_name)]

    def uncalled_modules(self) -> set[str]:
        """Return the modules that never ran: unused, or used by other methods than a call."""
        return self._analyze().uncalled_mods

    def set_op_handle(self: Analysis, *args: Any, **kwargs: Handle | None) -> Analysis:
        """Set what counts operators; a handle of None makes an operator ignored.

        Args:
            *args: Name, handle, name, handle, …; a name is one of the graph's, as ``'aten::matmul'``.
            **kwargs: The same by name.

        Raises:
            TypeError: The arguments are not pairs of a name and a handle.
        """
        if len(args) % 2:
            raise TypeError(f"set_op_handle takes pairs of a name and a handle, but got {args!r}")
        self._stats = None
        for name, handle in {**kwargs, **dict(zip(args[::2], args[1::2], strict=True))}.items():
            if handle is None:
                self._ignored_ops.add(name)
                # MMEngine 0.10.7 goes on counting with the handle of before.
                self._op_handles.pop(name, None)
            else:
                self._op_handles[name] = handle
        return self

    def clear_op_handles(self: Analysis) -> Analysis:
        """Remove all handles, and ignore what is ignored by default."""
        self._op_handles = {}
        self._ignored_ops = set(_IGNORED_OPS)
        self._stats = None
        return self

    def canonical_module_name(self, name: str) -> str:
        """Return the name under which a module is counted: its first one.

        Raises:
            KeyError: There is no such module.
        """
        # An AssertionError, as in MMEngine.
        assert isinstance(name, str), f"Module name must be a string, but got {name!r}"
        if name not in self._aliases:
            raise ReadableKeyError(f"the analyzed model has no module {name!r}")
        return self._aliases[name]

    def copy(
        self: Analysis, new_model: nn.Module | None = None, new_inputs: Any = None
    ) -> Analysis:
        """Return an analysis with the same settings, of another model or on other inputs."""
        # MMEngine 0.10.7's copy forgets the ancestor mode and what is ignored.
        other = copy(self)
        other._op_handles = dict(self._op_handles)
        other._ignored_ops = set(self._ignored_ops)
        other._attach(
            self._model if new_model is None else new_model,
            self._inputs if new_inputs is None else new_inputs,
        )
        return other

    def tracer_warnings(self: Analysis, mode: str) -> Analysis:
        """Choose which warnings of the trace are shown: ``all``, ``no_tracer_warning``, ``none``.

        Raises:
            ValueError: There is no such mode.
        """
        if mode not in WARNINGS:
            raise ValueError(f"Unrecognized tracer warning mode {mode}: choose from {[*WARNINGS]}")
        self._warn_trace = mode
        return self

    def ancestor_mode(self: Analysis, mode: str) -> Analysis:
        """Choose for which modules an operator counts.

        Args:
            mode: ``owner``: the module that runs and the modules it is in; ``caller``: all that run.

        Raises:
            ValueError: There is no such mode.
        """
        if mode not in ("owner", "caller"):
            raise ValueError(f"Unrecognized ancestor mode: {mode}: choose 'owner' or 'caller'")
        self._stats = None
        self._ancestor_mode = mode
        return self

    def unsupported_ops_warnings(self: Analysis, enabled: bool) -> Analysis:
        """Choose whether operators without a handle are logged."""
        self._enable_warn_unsupported_ops = enabled
        return self

    def uncalled_modules_warnings(self: Analysis, enabled: bool) -> Analysis:
        """Choose whether modules that never ran are logged."""
        self._enable_warn_uncalled_mods = enabled
        return self

    def _analyze(self) -> Statistics:
        if self._stats is None:
            self._stats = self._count(self._trace())
            self._log(self._stats)
        return self._stats

    def _trace(self) -> Any:
        with warnings.catch_warnings():
            for category in WARNINGS[self._warn_trace]:
                warnings.simplefilter("ignore", category)
            with _scopes(self._model, self._aliases) as model:
                # Private, as in MMEngine and fvcore: torch.jit.trace keeps submodules as calls, and this graph is flat.
                return torch.jit._get_trace_graph(model, self._inputs)[0]

    def _count(self, graph: Any) -> Statistics:
        names = set(self._aliases.values())
        counts: dict[str, Counter[str]] = {name: Counter() for name in names}
        unsupported: dict[str, Counter[str]] = {name: Counter() for name in names}
        seen: set[str] = set()
        for node in graph.nodes():
            # torch joins the scopes of nested calls by slashes.
            running = node.scopeName().split("/")
            modules = {*running} if self._ancestor_mode == "caller" else self._owners(running[-1])
            seen |= {*running, *modules}
            kind = node.kind()
            kind = f"{kind}.{node.pyname()}" if kind == "prim::PythonOp" else kind
            if kind in self._op_handles:
                found = self._handled(kind, node)
                for name in modules:
                    counts[name] += found
            elif not self._is_free(kind):
                for name in modules:
                    unsupported[name][kind] += 1
        return Statistics(counts, unsupported, names - seen)

    def _owners(self, name: str) -> set[str]:
        parts = self.canonical_module_name(name).split(".")
        return {".".join(parts[:depth]) for depth in range(len(parts) + 1)}

    def _handled(self, kind: str, node: Any) -> Counter[str]:
        found = self._op_handles[kind](list(node.inputs()), list(node.outputs()))
        # A NumPy number is a Number too, and is checked below.
        if isinstance(found, Number):
            found = Counter({kind.rpartition("::")[2]: found})
        for count in found.values():  # type: ignore[union-attr]  # no number any more
            # np.float64 is a float; np.int32 overflows at 2 gigaflops.
            if not isinstance(count, (int, float, np.int64)):
                raise ValueError(
                    f"Invalid type {type(count)} for the count of {kind}: it may overflow, use int."
                )
        return found  # type: ignore[return-value]

    def _is_free(self, kind: str) -> bool:
        # The other operators of `prim` build lists and constants; these two may compute anything.
        calls = ("prim::PythonOp", "prim::CallFunction")
        return kind in self._ignored_ops or (
            kind.startswith("prim::") and not kind.startswith(calls)
        )

    def _log(self, stats: Statistics) -> None:
        if self._enable_warn_unsupported_ops:
            for kind, times in stats.unsupported_ops[""].items():
                _warn(f"Unsupported operator {kind} encountered {times} time(s)")
        uncalled = [name for name in sorted(stats.uncalled_mods) if self._has_forward(name)]
        if self._enable_warn_uncalled_mods and uncalled:
            _warn(
                f"Modules that were never called: {', '.join(uncalled)}. They are unused, or used by "
                "other methods: then what they run counts for the module that calls these."
            )

    def _has_forward(self, name: str) -> bool:
        # Of the class, as in MMEngine: a `forward` that is set on the instance does not count.
        forward = type(self._named_modules[name]).forward
        return all(forward is not container.forward for container in _CONTAINERS)


@contextmanager
def _scopes(model: nn.Module, names: dict[str, str]) -> Iterator[nn.Module]:
    """Let a trace know which module runs; give the module to trace, without a wrapper."""
    entries = [(module, name) for name, module in _all_names(model) if names[name] == name]
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        model = model.module
        # The wrapper's own forward scatters over GPUs and is not traced; its first hook goes to the model.
        entries[0] = (model, "")

    def push(name: str) -> None:
        # None when the module is called outside of the trace.
        if (state := torch._C._get_tracing_state()) is not None:
            state.push_scope(name)

    def pop() -> None:
        if (state := torch._C._get_tracing_state()) is not None:
            state.pop_scope()

    hooks: list[Any] = []
    try:
        for module, name in entries:
            hooks.append(module.register_forward_pre_hook(lambda *_, name=name: push(name)))
            hooks.append(module.register_forward_hook(lambda *_: pop()))
        yield model
    finally:
        # MMEngine 0.10.7 leaves its hooks behind if the trace fails.
        for hook in hooks:
            hook.remove()


def _warn(message: str) -> None:
    print_log(message, logger="current", level=logging.WARNING)
