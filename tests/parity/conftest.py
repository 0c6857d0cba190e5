"""What MMEngine's own runs leave behind is taken back, like what ours leave."""

from __future__ import annotations

import functools
import gc
import sys
import warnings
from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _modules_are_not_garbage() -> Iterator[None]:
    """Spare the collection after each test the modules of both packages: a third of a second each time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True, scope="session")
def _workers_are_not_waited_for() -> Iterator[None]:
    """Give workers half a second to end by themselves: in these loaders each takes all of torch 2.13's five."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.5)
        yield


@pytest.fixture(autouse=True)
def _restored_mmengine() -> Iterator[None]:
    """Forget the loggers, hubs and scopes that a test makes in MMEngine, and close their files."""
    yield
    if "mmengine.utils" not in sys.modules:
        return
    from mmengine.utils import ManagerMixin

    if "mmengine.dataset" in sys.modules:
        _forget_subsets(sys.modules["mmengine.dataset"].BaseDataset)
    for cls in _managed(ManagerMixin):
        for instance in cls._instance_dict.values():
            for handler in getattr(instance, "handlers", ()):
                handler.close()
        cls._instance_dict.clear()
    with warnings.catch_warnings():  # files that MMEngine's Runner never closes
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def quick_runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a run start at once, and leave torch's global switches as they were.

    No compilers and git for its log, no threads for its few numbers. MMEngine 0.10.7 reads its own
    files with ``torch.load`` as it was before torch 2.6.
    """
    for module in ("mmengine.runner.runner", "mm2pl.utils.dl_utils"):
        monkeypatch.setattr(f"{module}.collect_env", dict)
    monkeypatch.setattr(torch, "load", functools.partial(torch.load, weights_only=False))
    threads, cudnn = torch.get_num_threads(), torch.backends.cudnn
    flags = cudnn.benchmark, cudnn.deterministic
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)
    cudnn.benchmark, cudnn.deterministic = flags


def _forget_subsets(base_dataset: type) -> None:
    """Empty the one ``memo`` of all of MMEngine's subsets.

    It is a mutable default keyed by ``id``: a new pipeline list at the address of a data set that
    is gone would be "copied" as that data set.
    """
    for memo in base_dataset._copy_without_annotation.__defaults__:
        memo.clear()


def _managed(cls: type) -> list[type]:
    return [cls, *(found for sub in cls.__subclasses__() for found in _managed(sub))]
