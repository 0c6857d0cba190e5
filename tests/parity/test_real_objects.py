"""A run of mm2pl made of real MMEngine parts: model, preprocessor, hook, metric, sampler, data set."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from mm2pl.runner import Runner

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]


class Parts:
    """MMEngine's own base classes, subclassed and registered in MMEngine's own registries."""

    def __init__(self) -> None:
        from mmengine.dataset import BaseDataset, DefaultSampler
        from mmengine.evaluator import BaseMetric
        from mmengine.hooks import Hook
        from mmengine.logging import MessageHub
        from mmengine.model import BaseModel

        self.calls: list[str] = []
        calls = self.calls

        class RealModel(BaseModel):
            def __init__(self) -> None:
                preprocessor = {"type": "ImgDataPreprocessor", "mean": [1.0] * 3, "std": [2.0] * 3}
                super().__init__(data_preprocessor=preprocessor)
                self.fc = nn.Linear(3, 2)

            def forward(self, inputs: Any, data_samples: Any, mode: str = "tensor") -> Any:
                logits = self.fc(inputs.mean((2, 3)))
                labels = torch.as_tensor(data_samples)
                if mode == "loss":
                    # As MMDetection's BatchSyncRandomResize reads it, from MMEngine's own class.
                    hub = MessageHub.get_current_instance()
                    hub.update_scalar("train/seen", len(labels))
                    weight = 1 + hub.get_info("iter") / 8
                    return {"loss": weight * nn.functional.cross_entropy(logits, labels)}
                return [
                    {"pred": int(p), "gt": int(t)}
                    for p, t in zip(logits.argmax(1), labels, strict=True)
                ]

        class RealHook(Hook):
            def after_train_iter(self, runner: Any, batch_idx: int, **kwargs: Any) -> None:
                seen = len(runner.message_hub.get_scalar("train/seen").data[0])
                calls.append(f"{runner.iter} {float(kwargs['outputs']['loss']).hex()} {seen}")

            def after_val_epoch(self, runner: Any, metrics: Any = None) -> None:
                calls.append(f"{metrics['real/acc']}")

        class RealMetric(BaseMetric):
            default_prefix = "real"

            def process(self, data_batch: Any, data_samples: Any) -> None:
                self.results.extend(s["pred"] == s["gt"] for s in data_samples)

            def compute_metrics(self, results: list) -> dict:
                return {"acc": sum(results) / len(results)}

        class RealSampler(DefaultSampler):
            pass

        class RealDataset(BaseDataset):
            def load_data_list(self) -> list:
                return [{"labels": n % 2, "seed": n} for n in range(10)]

            def prepare_data(self, idx: int) -> dict:
                info = self.get_data_info(idx)
                generator = torch.Generator().manual_seed(info["seed"])
                image = torch.rand(3, 4, 4, generator=generator)
                return {"inputs": image, "data_samples": info["labels"]}

        self.classes = (RealModel, RealHook, RealMetric, RealSampler, RealDataset)


@pytest.fixture
def parts() -> Any:
    registry = pytest.importorskip("mmengine.registry")
    made = Parts()
    names = ("MODELS", "HOOKS", "METRICS", "DATA_SAMPLERS", "DATASETS")
    for name, kind in zip(names, made.classes, strict=True):
        getattr(registry, name).register_module(module=kind)
    yield made
    for name, kind in zip(names, made.classes, strict=True):
        getattr(registry, name)._module_dict.pop(kind.__name__)


def train(runner_class: Any, work_dir: Any, objects: Any = None) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    loader = {
        "batch_size": 4,
        "num_workers": 0,
        "dataset": {"type": "RealDataset"},
        "sampler": {"type": "RealSampler", "shuffle": True},
    }
    config: dict[str, Any] = {
        "model": {"type": "RealModel"},
        "work_dir": str(work_dir),
        "train_dataloader": loader,
        "val_dataloader": copy.deepcopy(loader),
        "train_cfg": {"by_epoch": True, "max_epochs": 2},
        "val_cfg": {},
        "val_evaluator": {"type": "RealMetric"},
        "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.1}},
        "custom_hooks": [{"type": "RealHook"}],
        "randomness": {"seed": 3},
        "experiment_name": f"{runner_class.__module__}-{work_dir.name}",
        "default_scope": "mmengine",
        **(objects or {}),
    }
    runner = runner_class(**config)
    runner.train()
    return {key: value.clone() for key, value in runner.model.state_dict().items()}


def test_a_run_of_real_parts_found_in_mmengines_registries(parts, tmp_path):
    from mmengine.runner import Runner as TheirRunner

    ours = train(Runner, tmp_path / "ours")
    calls, parts.calls[:] = parts.calls[:], []
    theirs = train(TheirRunner, tmp_path / "theirs")
    assert calls == parts.calls
    assert len(calls) == 2 * (3 + 1)
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())


def test_a_run_of_real_objects(parts, tmp_path):
    torch.manual_seed(0)
    by_name = train(Runner, tmp_path / "names")
    model, hook, metric, *_ = parts.classes
    torch.manual_seed(0)
    built = train(
        Runner,
        tmp_path / "objects",
        {"custom_hooks": [hook()], "val_evaluator": [metric()], "model": {"type": model}},
    )
    assert all(torch.equal(value, built[key]) for key, value in by_name.items())
