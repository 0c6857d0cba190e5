"""What people do with a LightningModule outside of one fit: call, export, copy, load, nest, reuse it."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric import Fabric
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.model_summary import ModelSummary
from torch import nn

from mm2pl.lightning import MMLightningModule
from tests.conformance.subjects import (
    PAIRS,
    SGD,
    Net,
    Outer,
    by_hand,
    equal,
    fitted,
    loader,
    ours,
    trainer,
    weights,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:`torch.jit"),
    pytest.mark.filterwarnings(
        "ignore:The .grad attribute of a Tensor that is not a leaf"
    ),  # dynamo
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec"),
    pytest.mark.filterwarnings("ignore:Attribute 'model' is an instance of `nn.Module`"),
    pytest.mark.filterwarnings("ignore:Found 1 module.* in eval mode"),
]
X = torch.randn(5, 8, generator=torch.Generator().manual_seed(1))


def scripted(module: LightningModule) -> Any:
    return module.to_torchscript(method="trace", example_inputs=X)(X)


def onnx(module: LightningModule) -> Any:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    stream = io.BytesIO()
    module.to_onnx(stream, X)
    return torch.tensor(len(stream.getvalue()) > 0)


def torch_saved(module: LightningModule) -> Any:
    stream = io.BytesIO()
    torch.save(module, stream)
    stream.seek(0)
    return torch.load(stream, weights_only=False)(X)


def frozen(module: LightningModule) -> Any:
    module.freeze()
    assert not module.training
    assert not any(p.requires_grad for p in module.parameters())
    module.unfreeze()
    assert module.training
    assert all(p.requires_grad for p in module.parameters())
    return module(X)


def loaded(module: LightningModule) -> Any:
    state = {name: value + 1 for name, value in module.state_dict().items()}
    report = module.load_state_dict(state)
    assert not report.missing_keys
    assert not report.unexpected_keys
    assert equal(list(module.state_dict().values()), list(state.values()))
    return module(X)


USES: dict[str, Callable[[LightningModule], Any]] = {
    "module(x)": lambda module: module(X),
    "eval()": lambda module: module.eval()(X),
    "double()": lambda module: module.double()(X.double()),
    "to(dtype)": lambda module: module.to(torch.bfloat16)(X.bfloat16()),
    "half().float()": lambda module: module.half().float()(X),
    "to('cpu')": lambda module: module.to("cpu")(X),
    "dtype, device": lambda module: torch.tensor(
        [module.double().dtype == torch.float64, module.device.type == "cpu"]
    ),
    "torch.export": lambda module: torch.export.export(module.eval(), (X,)).module()(X),
    "to_torchscript": lambda module: scripted(module.eval()),
    "to_onnx": lambda module: onnx(module.eval()),
    "torch.compile": lambda module: torch.compile(module, backend="eager")(X),
    "fabric.setup": lambda module: Fabric(accelerator="cpu", devices=1).setup(module)(X),
    "deepcopy": lambda module: copy.deepcopy(module)(X),
    "pickle": lambda module: pickle.loads(pickle.dumps(module))(X),
    "torch.save": torch_saved,
    "freeze": frozen,
    "load_state_dict": loaded,
    "Sequential": lambda module: nn.Sequential(module, nn.Identity())(X),
    "zero_grad": lambda module: (module(X).sum().backward(), module.zero_grad(), module(X))[2],
    "inference_mode": lambda module: torch.inference_mode()(module)(X).clone(),
    "functional_call": lambda module: torch.func.functional_call(module, module.state_dict(), (X,)),
}


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("trained", [False, True], ids=["new", "trained"])
@pytest.mark.parametrize("use", USES)
def test_use(use: str, trained: bool, kind: str) -> None:
    results = []
    for make in PAIRS[kind]:
        module = make()
        if trained:
            trainer(max_epochs=1, limit_train_batches=2).fit(module, loader(), loader(20))
        results.append(USES[use](module))
    assert torch.equal(*results)


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("stage", ["validate", "test", "predict"])
def test_evaluation(stage: str, kind: str) -> None:
    results = []
    for make in PAIRS[kind]:
        found = getattr(trainer(), stage)(make(), loader(20))
        results.append(found)
    if stage == "predict":
        assert [torch.stack(list(batch)).tolist() for batch in results[0]] == [
            torch.stack(list(batch)).tolist() for batch in results[1]
        ]
    else:
        assert results[0] == results[1]
        assert results[0][0]


@pytest.mark.parametrize("kind", PAIRS)
def test_several_validation_loaders(kind: str) -> None:
    results = []
    for make in PAIRS[kind]:
        run = trainer(max_epochs=1)
        run.fit(make(), loader(), [loader(20), loader(12)])
        results.append({k: v.item() for k, v in run.callback_metrics.items() if "val" in k})
    assert results[0] == results[1]
    assert set(results[0]) == {"val_loss/dataloader_idx_0", "val_loss/dataloader_idx_1"}


def test_a_part_of_another_module_says_that_its_evaluator_gets_nothing() -> None:
    with pytest.warns(UserWarning, match="val_evaluator gets nothing: no Trainer drives this MM"):
        trainer().validate(Outer(ours(val_evaluator=[])), loader(20))


@pytest.mark.parametrize("kind", PAIRS)
def test_summary(kind: str) -> None:
    found = []
    for make in PAIRS[kind]:
        module = make()
        module.example_input_array = X
        summary = ModelSummary(module, max_depth=1)
        found.append((summary.out_sizes[0], summary.total_parameters, summary.model_size))
    assert found[0] == found[1]
    assert found[0][0] == [5, 4]


def test_a_compiled_module_is_fitted() -> None:
    """Compared with one that is not compiled: dynamo cannot follow ``self.log`` in a step of Lightning 2.6."""
    compiled, theirs = torch.compile(ours(), backend="eager"), by_hand()
    for module in (compiled, theirs):
        trainer(max_epochs=1).fit(module, loader())
    assert equal(weights(compiled._orig_mod), weights(theirs))


@pytest.mark.parametrize("kind", PAIRS)
def test_a_fabric_loop(kind: str) -> None:
    results = []
    for make in PAIRS[kind]:
        fabric, module = Fabric(accelerator="cpu", devices=1), make()
        optimizers, _ = module.configure_optimizers()
        wrapped, optimizer = fabric.setup(module, optimizers[0])
        wrapped.mark_forward_method("training_step")
        losses = []
        for i, batch in enumerate(fabric.setup_dataloaders(loader())):
            loss = wrapped.training_step(batch, i)["loss"]
            fabric.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        results.append((losses, weights(module)))
    assert results[0][0] == results[1][0]
    assert equal(results[0][1], results[1][1])


# Files


class WithHyperparameters:
    def __init__(self, width: int = 3, **options: Any) -> None:
        super().__init__(**options)
        self.save_hyperparameters()
        self.width = width


class OursSaved(WithHyperparameters, MMLightningModule):
    """Takes another argument and passes the rest on."""


@pytest.mark.parametrize("weights_only", [True, False])
def test_load_from_checkpoint(weights_only: bool, tmp_path: Path) -> None:
    module = OursSaved(width=7, model={"type": Net}, optim_wrapper={"optimizer": dict(SGD)})
    assert module.hparams["width"] == 7
    run = trainer(max_epochs=1)
    run.fit(module, loader())
    run.save_checkpoint(tmp_path / "a.ckpt", weights_only=weights_only)
    other = OursSaved.load_from_checkpoint(tmp_path / "a.ckpt", weights_only=False)
    assert other.width == 7
    assert equal(weights(other), weights(module))
    with_model = OursSaved.load_from_checkpoint(
        tmp_path / "a.ckpt", model=Net(), width=8, weights_only=False
    )
    assert (with_model.width, with_model.hparams["width"]) == (8, 8)
    assert equal(weights(with_model), weights(module))


# Again


def twice(make: Callable[[], LightningModule], tmp_path: Path) -> Any:
    module, run = make(), trainer(max_epochs=1)
    for epochs in (1, 3):
        run.fit_loop.max_epochs = epochs
        run.fit(module, loader())
    return module


def another_trainer(make: Callable[[], LightningModule], tmp_path: Path) -> Any:
    module = make()
    for _ in range(2):
        trainer(max_epochs=2).fit(module, loader(), loader(20))
    return module


def another_module(make: Callable[[], LightningModule], tmp_path: Path) -> Any:
    run = trainer(max_epochs=1)
    run.fit(make(), loader())
    run.fit_loop.epoch_progress.reset()
    run.fit_loop.epoch_loop.batch_progress.reset()
    module = make()
    run.fit_loop.max_epochs = 2
    run.fit(module, loader())
    return module


def by_turns(make: Callable[[], LightningModule], tmp_path: Path) -> Any:
    run, one, other = trainer(max_epochs=1), make(), make()
    for epochs, module in enumerate((one, other, one, other), 1):
        run.fit_loop.max_epochs = epochs
        run.fit(module, loader())
        run.validate(module, loader(20), verbose=False)
    return nn.ModuleList([one, other])


def goes_on(make: Callable[[], LightningModule], tmp_path: Path) -> Any:
    module, run = make(), trainer(max_epochs=1)
    run.fit(module, loader())
    run.save_checkpoint(tmp_path / "a.ckpt")
    again = make()
    trainer(max_epochs=3, callbacks=[]).fit(again, loader(), ckpt_path=tmp_path / "a.ckpt")
    return again


def validated_between(make: Callable[[], LightningModule], tmp_path: Path) -> Any:
    module, run = make(), trainer(max_epochs=2)
    run.validate(module, loader(20), verbose=False)
    run.fit(module, loader(), loader(20))
    run.test(module, loader(20), verbose=False)
    run.predict(module, loader(20))
    return module


def kept(make: Callable[[], LightningModule]) -> Callable[[], LightningModule]:
    """Return what makes a module that goes on with its optimizer in each fit, as ours does in one Trainer."""

    def with_one_optimizer() -> LightningModule:
        module = make()
        module.configure_optimizers = cache(module.configure_optimizers)  # type: ignore[method-assign]
        return module

    return with_one_optimizer


AGAIN = (
    *(another_trainer, another_module, goes_on, validated_between),
    *(twice, by_turns),
)


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("again", AGAIN, ids=lambda again: again.__name__)
def test_again(again: Any, kind: str, tmp_path: Path) -> None:
    mine, theirs = PAIRS[kind]
    if again in (twice, by_turns) and kind != "nested":
        theirs = kept(theirs)
    assert equal(weights(again(mine, tmp_path)), weights(again(theirs, tmp_path)))


def test_parts_in_eval_mode_wake_up_and_it_is_said() -> None:
    module = ours()
    module.model.net[1].eval()
    with pytest.warns(UserWarning, match=r"net.1 had been put into eval mode, .*call_train=False"):
        trainer(max_epochs=1).fit(module, loader())
    assert module.model.net[1].training


def test_parts_in_eval_mode_stay_there_if_told() -> None:
    results = []
    for module in (ours(call_train=False), by_hand()):
        module.model.net[1].eval()
        results.append(fitted(module))
        assert not module.model.net[1].training
    assert results[0] == results[1]
