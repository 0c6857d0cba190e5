"""Modules that know how their weights are initialised."""

from __future__ import annotations

import copy
import logging
from abc import ABCMeta
from collections import defaultdict
from collections.abc import Iterable, Mapping
from logging import FileHandler
from typing import Any

from torch import nn

from mm2pl.dist import master_only
from mm2pl.logging import MMLogger, print_log
from mm2pl.model.weight_init import initialize, is_pretrained, update_init_info
from mm2pl.registry.wrappers import is_model_wrapper


# Without ABCMeta, which nn.Module lacks, the abstract methods of BaseModel would not be enforced.
class BaseModule(nn.Module, metaclass=ABCMeta):
    """A module with an ``init_cfg``; stands for `mmengine.model.BaseModule`.

    :meth:`init_weights` first applies the module's own ``init_cfg``, then lets the children initialise themselves, so
    the innermost wins; ``Pretrained`` comes last of all and so overrides the children.

    Args:
        init_cfg: One or several dicts, such as ``dict(type="Kaiming", layer="Conv2d")``.

    Example:
        >>> Sequential(nn.ReLU(), init_cfg=dict(type="Kaiming", layer="Conv2d"))
        Sequential(
          (0): ReLU()
        )
        init_cfg={'type': 'Kaiming', 'layer': 'Conv2d'}
    """

    def __init__(self, init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None) -> None:
        super().__init__()
        self._is_init = False
        # One dict of a config often serves several blocks; a block may change its own.
        self.init_cfg = copy.deepcopy(init_cfg)

    @property
    def is_init(self) -> bool:
        """Return whether :meth:`init_weights` was called; True keeps a parent from calling it."""
        return self._is_init

    @is_init.setter
    def is_init(self, value: bool) -> None:
        self._is_init = value

    _params_init_info: Any
    """Exists while the weights are initialised; `update_init_info` writes into it."""

    def init_weights(self) -> None:
        """Initialise the parameters, once; the outermost call logs where each one's value comes from."""
        # Children share the table of the outermost call, so only that one may log and remove it.
        outermost = not hasattr(self, "_params_init_info")
        if outermost:
            self._start_init_info()
        try:
            if self._is_init:
                print_log(
                    f"init_weights of {type(self).__name__} has been called more than once.",
                    logger="current",
                    level=logging.WARNING,
                )
            else:
                self._init_weights()
            if outermost:
                self._dump_init_info()
        # MMEngine 0.10.7 removes the table only on success. After an error no later call would be the outermost one.
        finally:
            if outermost:
                for module in self.modules():
                    # A module without parameters may have been added meanwhile, and it has no table.
                    module.__dict__.pop("_params_init_info", None)

    def _start_init_info(self) -> None:
        """Give all modules one table: parameter → where its value comes from, and its mean to notice changes."""
        # Tensors hash by identity: a parameter that was replaced is not found, and `update_init_info` says so.
        info: dict[nn.Parameter, dict[str, Any]] = defaultdict(dict)
        for param in self.parameters():
            info[param]["init_info"] = (
                f"The value is the same before and after calling `init_weights` of {type(self).__name__} "
            )
            info[param]["tmp_mean_value"] = param.data.mean().cpu()
        for module in self.modules():
            module._params_init_info = info  # type: ignore[assignment]

    def _init_weights(self) -> None:
        cfgs = [self.init_cfg] if isinstance(self.init_cfg, dict) else self.init_cfg or []
        if cfgs:
            print_log(
                f"initialize {type(self).__name__} with init_cfg {self.init_cfg}",
                logger="current",
                level=logging.DEBUG,
            )
            initialize(self, [cfg for cfg in cfgs if not is_pretrained(cfg)])
        children: Iterable[Any] = self.children()
        for child in children:
            # MMSeparateDistributedDataParallel wraps each child, and DistributedDataParallel hides the child's methods.
            if is_model_wrapper(child) and not hasattr(child, "init_weights"):
                child = child.module
            if hasattr(child, "init_weights") and not getattr(child, "is_init", False):
                child.init_weights()
                # A user's own init_weights may change parameters without telling.
                name = type(child).__name__
                update_init_info(child, f"Initialized by user-defined `init_weights` in {name} ")
        # After the children: MMEngine sorts `Pretrained` behind everything else, at any place in the list.
        if cfgs:
            initialize(self, [cfg for cfg in cfgs if is_pretrained(cfg)])
        # Last, so that a call that failed can be repeated.
        self._is_init = True

    @master_only
    def _dump_init_info(self) -> None:
        """Write the table to the log file; without one, log it."""
        logger = MMLogger.get_current_instance()
        rows = [
            f"\n{name} - {param.shape}: \n{self._params_init_info[param]['init_info']} \n"
            for name, param in self.named_parameters()
        ]
        # A FileHandler with `delay=True` has no stream before its first record.
        files = [h.stream for h in logger.handlers if isinstance(h, FileHandler) and h.stream]
        for file in files:
            file.write("Name of parameter - Initialization information\n" + "".join(rows))
            file.flush()
        for row in rows if not files else ():
            logger.info(f"{row} ")

    def __repr__(self) -> str:
        return super().__repr__() + (f"\ninit_cfg={self.init_cfg}" if self.init_cfg else "")


class Sequential(BaseModule, nn.Sequential):
    """`torch.nn.Sequential` with an ``init_cfg``.

    ``args`` are the layers in order, or one ordered dict of them by name, as torch takes them.
    """

    def __init__(self, *args: Any, init_cfg: Any = None) -> None:
        # BaseModule first, in all three: its `__init__` reaches nn.Module's again, which would forget the children.
        BaseModule.__init__(self, init_cfg)
        nn.Sequential.__init__(self, *args)


class ModuleList(BaseModule, nn.ModuleList):
    """`torch.nn.ModuleList` with an ``init_cfg``.

    ``modules`` are the first entries.
    """

    def __init__(self, modules: Iterable[nn.Module] | None = None, init_cfg: Any = None) -> None:
        BaseModule.__init__(self, init_cfg)
        nn.ModuleList.__init__(self, modules)


class ModuleDict(BaseModule, nn.ModuleDict):
    """`torch.nn.ModuleDict` with an ``init_cfg``.

    ``modules`` are the first entries, by name.
    """

    def __init__(
        self, modules: Mapping[str, nn.Module] | None = None, init_cfg: Any = None
    ) -> None:
        BaseModule.__init__(self, init_cfg)
        nn.ModuleDict.__init__(self, modules)
