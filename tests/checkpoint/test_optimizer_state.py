"""Which optimizer takes which state, and what of it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from mm2pl.checkpoint import schema
from mm2pl.checkpoint.optimizer_state import fitting_optimizers, fitting_state
from mm2pl.checkpoint.reader import CheckpointError
from mm2pl.optim import OptimWrapper

SGD, ADAM, ADAMW = torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW


def stepped(
    cls: Any = ADAM, model: nn.Module | None = None, groups: int = 1, **options: Any
) -> Any:
    torch.manual_seed(0)
    model = model or nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    params = list(model.parameters())
    split = [{"params": params}] if groups == 1 else [{"params": [p]} for p in params]
    optimizer = cls(split, lr=0.1, **options)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return optimizer


def state(*args: Any, **kwargs: Any) -> dict[str, Any]:
    return copy.deepcopy(stepped(*args, **kwargs).state_dict())


def test_the_state_of_the_same_optimizer_is_returned_as_it_is():
    saved = state()
    assert str(fitting_state(stepped(), saved)) == str(saved)


THREE = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, bias=False))
REFUSED = {
    "SGD into Adam": (
        state(SGD),
        None,
        "one with dampening, .* 1 group of 4.*is Adam with 1 group",
    ),
    "named": (
        state(SGD),
        "SGD",
        r"optimizer is SGD with 1 group of 4 .* is Adam with 1 group of 4",
    ),
    "near kin by name": (state(torch.optim.RAdam), "RAdam", "is RAdam with"),
    "other groups": (state(groups=4), None, "is Adam with 4 groups of 1, 1, 1, 1 parameters, this"),
    "fewer parameters": (state(model=THREE), None, "1 group of 3 .*1 group of 4"),
}


@pytest.mark.parametrize(("saved", "name", "message"), REFUSED.values(), ids=REFUSED)
def test_another_optimizer_is_refused_in_one_message(saved, name, message):
    optimizer = stepped()
    before = str(optimizer.state_dict())
    with pytest.raises(CheckpointError, match=f"{message}.*resume_optimizer=False.*load_from"):
        fitting_state(optimizer, saved, written_by=name)
    assert str(optimizer.state_dict()) == before


def test_a_class_with_the_same_settings_is_as_good():
    saved = state(ADAM)
    assert fitting_state(stepped(ADAMW), saved, written_by="Adam")["state"] is not saved["state"]


def test_what_the_groups_have_here_and_the_file_lacks_stays():
    saved = state()
    del saved["param_groups"][0]["fused"]
    optimizer = stepped()
    optimizer.param_groups[0]["max_lr"] = 0.5
    made = fitting_state(optimizer, saved)["param_groups"][0]
    assert made["max_lr"] == 0.5
    assert made["fused"] is None
    assert made["params"] == [0, 1, 2, 3]


def test_a_parameter_of_another_shape_begins_anew_and_only_that():
    saved, optimizer = state(), stepped()
    shapes = [param.shape for param in optimizer.param_groups[0]["params"]]
    saved["accumulation"] = {
        "inner_count": 1,
        "grads": [{f"0.{i}": torch.ones(shape) for i, shape in enumerate(shapes)}],
    }
    changed = optimizer.param_groups[0]["params"][2]
    made = fitting_state(optimizer, saved, [changed])
    assert list(made["state"]) == [0, 1, 3]
    assert [list(window) for window in made["accumulation"]["grads"]] == [["0.0", "0.1", "0.3"]]
    optimizer.load_state_dict({k: made[k] for k in ("state", "param_groups")})
    optimizer.step()
    assert optimizer.state[changed]["step"] == 1


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (["state", 0], {"a": 1}, "state.0 has a → exp_avg, exp_avg_sq, step is needed"),
        (["param_groups", 0, "betas"], (), "param_groups.0.betas has 0 values → 2 are needed"),
        (["param_groups", 0, "betas"], (0.1, "a"), "param_groups.0.betas.1 is 'a'"),
        (["state", 0], "text", r"state.0 is 'text' \(str\) → a dict is needed"),
        (["state", 0, "exp_avg"], torch.ones(9), r"state.0.exp_avg is \(9,\) in the file"),
        (["state", 0, "exp_avg"], [1], r"state.0.exp_avg is \[1\] \(list\) → a tensor is needed"),
        (["state", 0, "exp_avg"], None, r"state.0.exp_avg is None \(NoneType\) → a tensor"),
        (
            ["accumulation"],
            {"grads": [{}, {"0.1": torch.ones(9)}]},
            r"accumulation.grads.1.0.1 is \(9,\) in the file, and the parameter is \(2,\)",
        ),
    ],
)
def test_a_value_that_no_optimizer_writes_is_named(place, value, said):
    saved = holder = copy.deepcopy(state())
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    with pytest.raises(CheckpointError, match=rf"optimizer\.{said}"):
        fitting_state(stepped(), saved)


class Projected(torch.optim.SGD):
    """Keep its averages in other shapes than the parameters, and others for vectors, as GaLore and Muon do."""

    def step(self, closure: Any = None) -> None:
        self.state["calls"] = self.state.get("calls", 0) + 1
        for param in self.param_groups[0]["params"]:
            flat = torch.ones(param.numel())
            kept = {"exp_avg": flat, "scale": 2} if param.dim() > 1 else {"momentum_buffer": [flat]}
            self.state[param] = kept


TAKEN = {
    "Adafactor": lambda: stepped(torch.optim.Adafactor),
    "LBFGS": lambda: torch.optim.LBFGS([nn.Parameter(torch.ones(2))]),
    "SGD": lambda: stepped(SGD),
    "SGD with momentum": lambda: stepped(SGD, momentum=0.9),
    "AMSGrad": lambda: stepped(amsgrad=True),
    "RMSprop": lambda: stepped(torch.optim.RMSprop, centered=True, momentum=0.9),
    "other shapes": lambda: stepped(Projected),
}


@pytest.mark.parametrize("make", TAKEN.values(), ids=TAKEN)
def test_each_optimizer_takes_what_it_has_written(make):
    optimizer, other = make(), make()
    if isinstance(other, torch.optim.LBFGS):
        param = optimizer.param_groups[0]["params"][0]
        optimizer.zero_grad()
        optimizer.step(lambda: param.square().sum().backward() or param.square().sum())
    saved = copy.deepcopy(optimizer.state_dict())
    schema.check({"state_dict": {}, "optimizer": saved}, "x.pth")
    other.load_state_dict(fitting_state(other, saved))
    assert str(other.state_dict()) == str(saved)


def test_how_torch_steps_is_this_programs():
    saved = state()
    saved["param_groups"][0].update(capturable=True, differentiable=True, maximize=True)
    made = fitting_state(stepped(), saved)["param_groups"][0]
    assert (made["capturable"], made["differentiable"], made["maximize"]) == (False, False, True)


def test_frozen_parts_may_differ():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    saved = state(model=model)
    optimizer = stepped()
    optimizer.load_state_dict(fitting_state(optimizer, saved))
    optimizer.step()
    assert sorted(saved["state"]) == [2, 3]
    assert len(optimizer.state_dict()["state"]) == 4


def wrappers(*names: str) -> dict[str, OptimWrapper]:
    return {name: OptimWrapper(stepped()) for name in names}


def test_several_optimizers_are_found_by_name_and_handed_to_lightning_in_order():
    file = {"optimizer": {"b": state(), "a": state()}, "optimizer_states": ["by position"]}
    file["optimizer"]["a"]["param_groups"][0]["lr"] = 7.0
    made = fitting_optimizers(wrappers("a", "b"), file)
    assert [each["param_groups"][0]["lr"] for each in made["optimizer_states"]] == [7.0, 0.1]
    assert list(made["optimizer"]) == ["a", "b"]


OTHERS = {
    "names": (wrappers("a", "b"), {"optimizer": {"a": state()}}, "optimizers a and this run a, b"),
    "one here": (
        wrappers(""),
        {"optimizer": {"a": state()}},
        r"optimizers a and this run \(a single one\)",
    ),
    "Lightning's": (wrappers("a", "b"), {"optimizer_states": [state()]}, "optimizers 0 and this"),
}


@pytest.mark.parametrize(("wrapper", "file", "message"), OTHERS.values(), ids=OTHERS)
def test_other_numbers_of_optimizers_are_refused(wrapper, file, message):
    with pytest.raises(CheckpointError, match=message):
        fitting_optimizers(wrapper, file)


def test_lightnings_own_states_go_by_position():
    made = fitting_optimizers(wrappers(""), {"optimizer_states": [state()]})
    assert list(made) == ["optimizer_states"]
    assert made["optimizer_states"][0]["param_groups"][0]["lr"] == 0.1


def test_the_base_settings_keep_what_only_this_run_has():
    wrapper = OptimWrapper(stepped(groups=4))
    wrapper.base_param_settings["max_lr"] = 0.5
    saved = {**state(groups=4), "base_param_settings": {"params": torch.zeros(1), "lr": 9.0}}
    made = fitting_state(wrapper, saved)["base_param_settings"]
    assert (made["max_lr"], made["lr"]) == (0.5, 9.0)
