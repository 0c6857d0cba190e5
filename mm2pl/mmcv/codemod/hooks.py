"""Hooks of 1.x take the runner alone; those of today also the batch."""

from __future__ import annotations

import re

import libcst as cst
from libcst import matchers as m

# MMEngine 0.10.7's signatures. Its Runner passes these by keyword, so a method with the runner alone would fail.
ADDED = {
    **dict.fromkeys(("before_train_iter", "before_val_iter"), ("batch_idx", "data_batch=None")),
    **dict.fromkeys(
        ("after_train_iter", "after_val_iter"), ("batch_idx", "data_batch=None", "outputs=None")
    ),
    # These four are private and take the mode in MMEngine 0.10.7:
    # `before_train_iter` calls `_before_iter(…, mode='train')`.
    "before_iter": ("batch_idx", "data_batch=None", "mode='train'"),
    "after_iter": ("batch_idx", "data_batch=None", "outputs=None", "mode='train'"),
    "before_epoch": ("mode='train'",),
    "after_epoch": ("mode='train'",),
    "after_val_epoch": ("metrics=None",),
}
"""Points of a hook → the parameters that they gain after ``runner``."""

# A method that kept its name would never be called again: MMEngine 0.10.7 has it with an underscore only.
RENAMED = {
    name: f"_{name}" for name in ("before_epoch", "after_epoch", "before_iter", "after_iter")
}

# MMEngine 0.10.7 asks separately for training and validation; 1.x knew the training counters only.
_ASKED = {
    "every_n_iters": "every_n_train_iters",
    "is_last_epoch": "is_last_train_epoch",
    "is_last_iter": "is_last_train_iter",
}
# Only the loss is reached in the same way. 'log_vars' and 'num_samples' have no place in MMEngine's outputs.
_LOSS = re.compile(r"""\[['"]loss['"]\]$""")
# 1.x hooks read the batch from the runner; MMEngine 0.10.7 hands it to the method.
_BODY = {"data_batch": "data_batch", "inner_iter": "batch_idx", "outputs": "outputs"}

CHANGED_RUNNER = {
    "outputs": "is the argument `outputs` now: the losses that train_step returns by their names, or predictions",
    "optimizer": "is runner.optim_wrapper.optimizer, and steps inside train_step",
    "log_buffer": "is runner.message_hub: update_scalar('train/name', value)",
    "data_loader": "is runner.train_dataloader or runner.val_dataloader",
    "meta": "is runner.message_hub: update_info('name', value)",
    "mode": "does not exist: hooks have points for each mode",
    "current_lr": "is runner.optim_wrapper.get_lr()",
    "register_hook": "hooks are registered before the run starts",
}
"""Attributes of the runner that mm2pl's Runner has differently; `mm2pl.mmcv`'s runners have them still."""


class HookMethod(cst.CSTTransformer):
    """Rewrite the body of one method of a hook.

    Args:
        runner: What the method calls the runner.
        parameters: The names that it has after the change.
    """

    def __init__(self, runner: str, parameters: set[str]) -> None:
        self.runner = runner
        self.parameters = parameters
        # Collected, not changed: guessed code that runs wrongly is worse than a line in the report.
        self.left: list[str] = []

    def visit_Subscript(self, node: cst.Subscript) -> None:
        """Note what ``runner.outputs`` had besides the loss."""
        outputs = m.Attribute(value=m.Name(self.runner), attr=m.Name("outputs"))
        if m.matches(node.value, outputs) and not _LOSS.search(_code(node)):
            self.left.append("outputs")

    def leave_Attribute(
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.BaseExpression:
        """Replace ``runner.data_batch`` by the argument; note what has changed otherwise."""
        # Only the parameter's own attributes: another object may have an `outputs` too.
        if not m.matches(original_node.value, m.Name(self.runner)):
            return updated_node
        name = original_node.attr.value
        new = _BODY.get(name)
        # At points without a batch, such as `after_train_epoch`, the name does not exist.
        if new is not None and new in self.parameters:
            return cst.Name(new)
        if name in CHANGED_RUNNER:
            self.left.append(name)
        return updated_node

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        """Hand the new arguments on to other methods of the hook."""
        function = updated_node.func
        # `self` and `super()` only: a call on another object may have that name by chance.
        if not isinstance(function, cst.Attribute) or not _is_hook(function.value):
            return updated_node
        name = function.attr.value
        arguments = updated_node.args
        # Calls that hand on the runner first are 1.x'. MMEngine's
        # `every_n_inner_iters` and `end_of_epoch` take none,
        # so a second run of the rewriting leaves them.
        if not arguments or not m.matches(arguments[0].value, m.Name(self.runner)):
            return updated_node
        if name in _ASKED:
            return updated_node.with_changes(
                func=function.with_changes(attr=cst.Name(_ASKED[name]))
            )
        # MMEngine 0.10.7's takes the index of the batch, since its runner has no `inner_iter`.
        if name == "every_n_inner_iters" and "batch_idx" in self.parameters:
            first = arguments[0].with_changes(value=cst.Name("batch_idx"))
            return updated_node.with_changes(args=[first, *arguments[1:]])
        # MMEngine 0.10.7's takes the loader, since its runner has one for each mode.
        if name == "end_of_epoch" and "batch_idx" in self.parameters:
            return cst.parse_expression(
                f"{_code(function)}({self.runner}.train_dataloader, batch_idx)"
            )
        # A call with more arguments has been written for MMEngine.
        if name in ADDED and len(arguments) == 1:
            return self._handed_on(function, name)
        return updated_node

    def _handed_on(self, function: cst.Attribute, name: str) -> cst.BaseExpression:
        given = [p.partition("=")[0] for p in ADDED[name]]
        missing = [p for p in given if p not in self.parameters]
        if "batch_idx" in missing:
            self.left.append(f"{name}()")
        # `batch_idx` has no default and goes by position. The others
        # go by keyword, as a method may lack those between.
        extra = "".join(
            f", {p}" if p == "batch_idx" else f", {p}={p}" for p in given if p not in missing
        )
        target = function.with_changes(attr=cst.Name(RENAMED.get(name, name)))
        return cst.parse_expression(f"{_code(target)}({self.runner}{extra})")


def _is_hook(node: cst.BaseExpression) -> bool:
    is_super = m.Call(func=m.Name("super"))
    return m.matches(node, m.Name("self")) or m.matches(node, is_super)


def _code(node: cst.CSTNode) -> str:
    return cst.Module([]).code_for_node(node)


def rewritten_method(node: cst.FunctionDef) -> tuple[cst.FunctionDef, list[str]]:
    """Return a method of a hook with its new parameters, and what its body uses that has changed."""
    parameters = [p.name.value for p in node.params.params]
    # A static or argument-less method is not a point of a hook.
    if len(parameters) < 2:
        return node, []
    name = node.name.value
    # Helper methods of a hook take the runner as well, but only by habit under this name.
    if name not in ADDED and parameters[1] != "runner":
        return node, []
    # More parameters: the method has MMEngine's signature, or was rewritten before.
    added = ADDED.get(name, ()) if len(parameters) == 2 else ()
    names = {*parameters, *(p.partition("=")[0] for p in added)}
    visitor = HookMethod(parameters[1], names)
    body = node.body.visit(visitor)
    assert isinstance(body, cst.BaseSuite)
    if added:
        extra = cst.parse_module(f"def f({', '.join(added)}): pass").body[0]
        assert isinstance(extra, cst.FunctionDef)
        first = list(node.params.params)
        comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
        # A last parameter has no comma in libcst's tree.
        first[-1] = first[-1].with_changes(comma=comma)
        params = node.params.with_changes(params=[*first, *extra.params.params])
        new_name = cst.Name(RENAMED.get(name, name))
        node = node.with_changes(params=params, name=new_name)
    return node.with_changes(body=body), list(dict.fromkeys(visitor.left))
