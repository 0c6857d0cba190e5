"""Losses, preprocessors, averages, norm layers and traced graphs compared with MMEngine's, bit for bit."""

from __future__ import annotations

import random
from importlib import import_module

import pytest
import torch
from torch import nn
from torch.nn import functional as F

pytestmark = pytest.mark.parity
pytest.importorskip("mmengine")
PACKAGES = ("mm2pl", "mmengine")


def both(make):
    """Return what ``make`` gives for each package's model room."""
    return [make(import_module(f"{package}.model")) for package in PACKAGES]


def model_of(room):
    class Net(room.BaseModel):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 3)

        def forward(self, x, y, mode):
            out = self.fc(x)
            if mode == "predict":
                return out
            losses = F.cross_entropy(out, y, reduction="none")
            return {
                "loss_ce": losses,
                "loss_reg": [out.square().mean(), out.abs()],
                "top": out.max(),
            }

    return Net()


def random_losses(rng):
    def tensor():
        shape = rng.choice([(), (1,), (3,), (2, 5)])
        leaf = torch.randn(shape, dtype=rng.choice([torch.float32, torch.float64]))
        return leaf.requires_grad_() * 1.5 if rng.random() < 0.7 else leaf

    names = rng.sample(
        ["loss", "loss_cls", "acc", "my_loss", "iou", "lossless", "d0.loss"], rng.randint(1, 5)
    )
    return {
        name: [tensor() for _ in range(rng.randint(0, 3))] if rng.random() < 0.3 else tensor()
        for name in names
    }


@pytest.mark.parametrize("seed", range(200))
def test_losses_are_parsed_alike(seed):
    torch.manual_seed(seed)
    losses = random_losses(random.Random(seed))
    ours, theirs = both(model_of)
    assert_parsed_alike(ours.parse_losses(losses), theirs.parse_losses(losses))


@pytest.mark.parametrize(
    "losses",
    [{}, {"acc": torch.tensor(3.0)}, {"loss": []}, {"top": [], "acc": [torch.ones(2)]}],
    ids=["nothing", "no loss", "empty loss", "lists"],
)
def test_nothing_to_minimise_is_zero(losses):
    ours, theirs = (model.parse_losses(losses) for model in both(model_of))
    assert type(theirs[0]) is int
    assert_parsed_alike(ours, theirs)


def assert_parsed_alike(ours, theirs):
    assert type(ours[0]) is type(theirs[0])
    assert type(ours[1]) is type(theirs[1])
    (loss, log_vars), (expected, their_log) = ours, theirs
    assert torch.equal(torch.as_tensor(loss), torch.as_tensor(expected))
    assert torch.as_tensor(loss).dtype == torch.as_tensor(expected).dtype
    assert list(log_vars) == list(their_log)
    assert hexes(log_vars) == hexes(their_log)


@pytest.mark.parametrize(
    "losses",
    [{"loss": 1.0}, {"acc": 1}, {"loss": [[torch.tensor(1.0)]]}, {"loss": (torch.tensor(1.0),)}],
    ids=["float", "int", "nested", "tuple"],
)
def test_what_is_no_tensor_is_refused_alike(losses):
    for model in both(model_of):
        with pytest.raises(TypeError, match="is not a tensor or list of tensors"):
            model.parse_losses(losses)


def hexes(log_vars):
    return [float(torch.as_tensor(value).detach()).hex() for value in log_vars.values()]


def test_training_leaves_the_same_weights():
    def trained(package):
        torch.manual_seed(0)
        net = model_of(import_module(f"{package}.model"))
        sgd = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        wrapper = import_module(f"{package}.optim").OptimWrapper(sgd, accumulative_counts=2)
        wrapper.initialize_count_status(net, 0, 7)
        logs = []
        for _ in range(7):
            batch = (torch.randn(5, 4), torch.randint(3, (5,)))
            logs.append({k: v.item().hex() for k, v in net.train_step(batch, wrapper).items()})
        return logs, net.state_dict(), net.val_step(batch), net.test_step(batch)

    (logs, weights, *outputs), (their_logs, their_weights, *their_outputs) = map(trained, PACKAGES)
    assert logs == their_logs
    assert all(torch.equal(weights[name], value) for name, value in their_weights.items())
    assert all(torch.equal(a, b) for a, b in zip(outputs, their_outputs, strict=True))


def random_batch(rng):
    channels = rng.choice([1, 3, 3, 4])
    dtype = rng.choice([torch.uint8, torch.float32])
    sizes = [(rng.randint(1, 40), rng.randint(1, 40)) for _ in range(rng.randint(1, 4))]
    images = [(torch.rand(channels, *size) * 255).to(dtype) for size in sizes]
    if rng.random() < 0.4:
        images = torch.stack([images[0]] * len(images))
    batch = {"inputs": images}
    return {**batch, "data_samples": [1]} if rng.random() < 0.5 else batch


def random_preprocessor(rng):
    statistics = rng.choice(
        [
            {},
            {"mean": [5], "std": [2.5]},
            {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]},
        ]
    )
    return {
        **statistics,
        "pad_size_divisor": rng.choice([1, 1, 8, 32]),
        "pad_value": rng.choice([0, 114, 0.5]),
        **rng.choice([{}, {"bgr_to_rgb": True}, {"rgb_to_bgr": True}]),
    }


@pytest.mark.parametrize("seed", range(150))
def test_images_are_preprocessed_alike(seed):
    torch.manual_seed(seed)
    rng = random.Random(seed)
    batch, kwargs = random_batch(rng), random_preprocessor(rng)
    ours, theirs = both(lambda room: room.ImgDataPreprocessor(**kwargs))
    try:
        expected = theirs(batch)
    except (AssertionError, IndexError, RuntimeError):
        with pytest.raises(AssertionError, match="shape"):
            ours(batch)
        return
    result = ours(batch)
    assert torch.equal(result["inputs"], expected["inputs"])
    assert result["inputs"].dtype == expected["inputs"].dtype
    assert result["data_samples"] == expected["data_samples"]


@pytest.mark.parametrize("seed", range(60))
def test_tensors_are_stacked_alike(seed):
    rng = random.Random(seed)
    dims, channels, divisor = rng.randint(1, 4), rng.randint(1, 3), rng.choice([1, 2, 3, 8])
    shapes = [
        [channels, *(rng.randint(1, 9) for _ in range(dims))] for _ in range(rng.randint(1, 4))
    ]
    tensors = [torch.rand(shape) for shape in shapes]
    ours, theirs = both(lambda room: room.stack_batch(tensors, divisor, 0.3))
    assert torch.equal(ours, theirs)


AVERAGES = {
    "SWA": ("StochasticWeightAverage", {}),
    "SWA, interval": ("StochasticWeightAverage", {"interval": 3}),
    "EMA": ("ExponentialMovingAverage", {"momentum": 0.02}),
    "EMA, interval": ("ExponentialMovingAverage", {"momentum": 0.3, "interval": 2}),
    "annealed": ("MomentumAnnealingEMA", {"gamma": 7}),
    "annealed, interval": ("MomentumAnnealingEMA", {"momentum": 0.2, "interval": 2}),
}


@pytest.mark.parametrize("update_buffers", [False, True])
@pytest.mark.parametrize(("name", "kwargs"), AVERAGES.values(), ids=AVERAGES)
def test_averages_are_the_same(name, kwargs, update_buffers):
    torch.manual_seed(0)
    source = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2).double())
    pair = both(lambda room: getattr(room, name)(source, update_buffers=update_buffers, **kwargs))
    for step in range(12):
        for tensor in source.state_dict().values():
            if tensor.is_floating_point():
                tensor.normal_()
            else:
                tensor += 1
        if step == 6:
            pair[0].load_state_dict(pair[1].state_dict())
        for average in pair:
            average.update_parameters(source)
        ours, theirs = (average.state_dict() for average in pair)
        assert list(ours) == list(theirs)
        assert all(torch.equal(value, theirs[key]) for key, value in ours.items()), step


def test_norm_layers_are_exchanged_alike():
    def exchanged(room):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.Sequential(nn.BatchNorm2d(3)))
        net = room.convert_sync_batchnorm(net.eval())
        names = [type(module).__name__ for module in net.modules()]
        training = [module.training for module in net.modules()]
        net = room.revert_sync_batchnorm(net)
        modules = [(type(module).__name__, module.training) for module in net.modules()]
        return names, training, modules, net(torch.ones(2, 2, 4, 4)), list(net.state_dict())

    ours, theirs = both(exchanged)
    assert torch.equal(ours[3], theirs[3])
    assert ours[:3] == theirs[:3]
    assert ours[4] == theirs[4]


@pytest.mark.parametrize(("bias", "affine"), [(True, True), (False, True), (True, False)])
def test_fused_norms_give_the_same_bits(bias, affine):
    def fused(package):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Sequential(nn.Conv2d(2, 3, 3, bias=bias), nn.BatchNorm2d(3, affine=affine))
        )
        net[0][1].running_mean.normal_()
        net[0][1].running_var.uniform_()
        module = import_module(f"{package}.model.efficient_conv_bn_eval")
        module.turn_on_efficient_conv_bn_eval(net.eval(), "0")
        return net(torch.randn(2, 2, 6, 6))

    ours, theirs = map(fused, PACKAGES)
    assert torch.equal(ours, theirs)


@pytest.mark.filterwarnings("ignore:torch.utils.checkpoint:UserWarning")
def test_recomputed_activations_give_the_same_gradients():
    paths = {
        "mm2pl": "mm2pl.model.activation_checkpointing",
        "mmengine": "mmengine.runner.activation_checkpointing",
    }

    def gradients(package):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Linear(3, 3), nn.Sequential(nn.Linear(3, 3), nn.Dropout(), nn.BatchNorm1d(3))
        )
        import_module(paths[package]).turn_on_activation_checkpointing(net, ["1"])
        net(torch.randn(5, 3)).sum().backward()
        return [*(param.grad for param in net.parameters()), *net.buffers()]

    ours, theirs = map(gradients, PACKAGES)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_augmented_versions_are_predicted_alike():
    def predicted(room):
        class Tta(room.BaseTTAModel):
            def merge_preds(self, data_samples_list):
                return data_samples_list

        torch.manual_seed(0)
        tta = Tta(model_of(room))
        x = [torch.randn(2, 4) for _ in range(3)]
        results = [tta.test_step((x, x)), tta.test_step({"x": x, "y": x})]
        return [[[v.tolist() for v in sample] for sample in result] for result in results]

    ours, theirs = both(predicted)
    assert ours == theirs
