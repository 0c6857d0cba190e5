"""``FlexibleRunner``: MMEngine's second entry point, which names a strategy."""

from __future__ import annotations

import copy
from typing import Any

from mm2pl.config import Config
from mm2pl.dist import infer_launcher
from mm2pl.registry import RUNNERS
from mm2pl.runner.runner import ARGUMENTS, Runner


@RUNNERS.register_module()
class FlexibleRunner(Runner):
    """A :class:`Runner` with ``strategy`` and ``compile`` as arguments (``mmengine.runner.FlexibleRunner``).

    What a strategy of MMEngine's does is done by the Trainer's own, so this is the same run under the other signature:
    arguments after ``model`` are keywords, and ``work_dir`` has a default.

    Args:
        model: As for :class:`Runner`.
        work_dir: As for :class:`Runner`.
        strategy: ``dict(type='DDPStrategy', …)``; see the key ``strategy`` in ``mm2pl explain``.
        compile: ``True`` or keyword arguments of :func:`torch.compile`.
        resume: Also the checkpoint to resume, as a string.
        launcher: ``None`` finds out from the environment who has started the process.
        cfg: The whole config.
        others: The other arguments of :class:`Runner`.

    Raises:
        TypeError: If ``strategy`` is a live object, or ``compile`` neither a bool nor a dict.
        ValueError: If ``resume`` is a path and ``load_from`` is given too.
    """

    def __init__(
        self,
        model: Any,
        *,
        work_dir: str = "work_dirs",
        strategy: dict[str, Any] | None = None,
        compile: bool | dict[str, Any] = False,
        resume: bool | str = False,
        launcher: str | None = None,
        cfg: Config | dict[str, Any] | None = None,
        **others: Any,
    ) -> None:
        if not (strategy is None or isinstance(strategy, dict)):
            raise TypeError(f"strategy={strategy!r} → a dict(type='DDPStrategy', …) is needed")
        if not isinstance(compile, bool | dict):
            raise TypeError(f"compile should be a bool or dict, but got {compile!r}")
        if isinstance(resume, str):
            if others.get("load_from") is not None:
                raise ValueError(
                    f"resume={resume!r} and load_from={others['load_from']!r} → If resume is a str, "
                    "load_from should be None"
                )
            others["load_from"], resume = resume, True
        own = {"strategy": strategy, "compile": compile}
        whole = Config(
            {
                **(dict(cfg.items()) if cfg is not None else {}),
                **{k: v for k, v in own.items() if v},
            },
            filename=getattr(cfg, "filename", None),
        )
        launcher = infer_launcher() if launcher is None else launcher
        super().__init__(model, work_dir, cfg=whole, resume=resume, launcher=launcher, **others)

    @classmethod
    def from_cfg(cls, cfg: Config | dict[str, Any]) -> FlexibleRunner:
        """Make a runner from a whole config.

        Raises:
            KeyError: If ``model`` is missing.
        """
        cfg = copy.deepcopy(cfg)
        if "model" not in cfg:
            raise KeyError("the config has no 'model' → FlexibleRunner.from_cfg needs it")
        given = {name: cfg.get(name, default) for name, default in _ARGUMENTS.items()}
        return cls(**given, cfg=cfg)


_ARGUMENTS = {
    **ARGUMENTS,
    "work_dir": "work_dirs",
    "strategy": None,
    "compile": False,
    "launcher": None,
}
"""The arguments of MMEngine's FlexibleRunner and their defaults."""
