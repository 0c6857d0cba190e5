"""Loops as projects write them, made of the classes of either package: ``loops("mmengine")["two loaders"]``."""

from __future__ import annotations

import importlib
from typing import Any

import torch
import torch.nn.functional as F

from tests.scenarios import Points


def loader_dict(size: int, batch_size: int = 8, shuffle: bool = False) -> dict[str, Any]:
    return {
        "dataset": Points(size, augment=shuffle),
        "batch_size": batch_size,
        "sampler": {"type": "DefaultSampler", "shuffle": shuffle},
        "collate_fn": {"type": "default_collate"},
    }


def sampling_evaluator(base: Any) -> type:
    """Return an evaluator that wants each set twice, and knows how many samples that is."""

    class Sampling(base.Evaluator):
        def samplers(self, model: Any, loader: Any) -> list[Any]:
            self.size = 2 * len(loader.dataset)
            return [loader, list(reversed(list(loader)))]

        def evaluate(self) -> dict[str, Any]:
            return super().evaluate(self.size)

    return Sampling


def bare(model: Any) -> Any:
    return getattr(model, "module", model)


def loops(package: str) -> dict[str, type]:
    """Return the loops by name."""
    base = importlib.import_module(f"{package}.runner")
    return {**train_loops(base), **evaluation_loops(base)}


def train_loops(base: Any) -> dict[str, type]:
    class ByEpochs(base.EpochBasedTrainLoop):
        def run(self) -> Any:
            return super().run()

    class ByIterations(base.IterBasedTrainLoop):
        def run(self) -> Any:
            return super().run()

    class TwoLoaders(base.EpochBasedTrainLoop):
        """A batch of each loader in turn, until the shorter one ends."""

        def __init__(self, runner: Any, dataloader: Any, other: Any, **settings: Any) -> None:
            super().__init__(runner, dataloader, **settings)
            self.other = runner.build_dataloader(other, seed=runner.seed)

        def run_epoch(self) -> None:
            self.runner.call_hook("before_train_epoch")
            self.runner.model.train()
            self.other.sampler.set_epoch(self._epoch)
            for idx, pair in enumerate(zip(self.dataloader, self.other, strict=False)):
                for batch in pair:
                    self.run_iter(idx, batch)
            self.runner.call_hook("after_train_epoch")
            self._epoch += 1

    class Curriculum(base.EpochBasedTrainLoop):
        """Another loader from the second epoch on; the run is MMEngine's."""

        def run_epoch(self) -> None:
            if self._epoch == 1:
                self.dataloader = self.runner.build_dataloader(
                    loader_dict(40, shuffle=True), seed=self.runner.seed
                )
            super().run_epoch()

    class Search(base.EpochBasedTrainLoop):
        """After each epoch, go on with the better of two candidates, as the validation loop finds them."""

        def run(self) -> Any:
            self.runner.call_hook("before_train")
            while self._epoch < self._max_epochs and not self.stop_training:
                self.run_epoch()
                self._decide_current_val_interval()
                self.choose()
            self.runner.call_hook("after_train")
            return self.runner.model

        def choose(self) -> None:
            weights = {k: v.clone() for k, v in bare(self.runner.model).state_dict().items()}
            found = []
            for scale in (1.0, 1.0 + 0.5 * torch.rand(()).item()):
                bare(self.runner.model).load_state_dict({
                    k: v * scale if v.is_floating_point() else v for k, v in weights.items()
                })  # fmt: skip
                found.append((self.runner.val_loop.run()["accuracy"], -scale, scale))
            best = max(found)[-1]
            bare(self.runner.model).load_state_dict({
                k: v * best if v.is_floating_point() else v for k, v in weights.items()
            })  # fmt: skip

    class Critics(base.IterBasedTrainLoop):
        """Two steps of the critic for each of the generator, whose loss goes backward by hand."""

        def run(self) -> None:
            runner = self.runner
            runner.call_hook("before_train")
            runner.call_hook("before_train_epoch")
            while self._iter < self._max_iters and not self.stop_training:
                runner.model.train()
                batch = next(self.dataloader_iterator)
                runner.call_hook("before_train_iter", batch_idx=self._iter, data_batch=batch)
                outputs = self.step(bare(runner.model), batch)
                runner.call_hook(
                    "after_train_iter", batch_idx=self._iter, data_batch=batch, outputs=outputs
                )
                self._iter += 1
                self._decide_current_val_interval()
                if self._iter % self.val_interval == 0 or self._iter == self._max_iters:
                    runner.val_loop.run()
            runner.call_hook("after_train_epoch")
            runner.call_hook("after_train")

        def step(self, model: Any, batch: Any) -> dict[str, Any]:
            wrappers = self.runner.optim_wrapper
            for _ in range(2):
                data = model.data_preprocessor(batch, True)
                fake = model.generator(torch.randn(len(data["inputs"]), 4)).detach()
                real = F.cross_entropy(model.discriminator(data["inputs"]), data["labels"])
                loss_d = real + model.discriminator(fake).pow(2).mean()
                wrappers["discriminator"].update_params(loss_d)
                batch = next(self.dataloader_iterator)
            generator = wrappers["generator"].optimizer
            generator.zero_grad()
            loss_g = -model.discriminator(model.generator(torch.randn(8, 4))).mean()
            loss_g.backward()
            generator.step()
            return {"loss_d": loss_d.detach(), "loss_g": loss_g.detach()}

    class TriesAgain(base.EpochBasedTrainLoop):
        """Save after the first epoch, spoil the weights after the second, and go back once."""

        tried = False

        def run(self) -> Any:
            self.runner.call_hook("before_train")
            while self._epoch < self._max_epochs:
                self.run_epoch()
                if self._epoch == 1 and not self.tried:
                    self.runner.save_checkpoint(
                        self.runner.work_dir, "own.pth", by_epoch=False, meta={"iter": self._iter}
                    )
                if self._epoch == 2 and not self.tried:
                    self.tried = True
                    self.runner.resume(f"{self.runner.work_dir}/own.pth")
                else:
                    self.runner.val_loop.run()
            self.runner.call_hook("after_train")
            return self.runner.model

    class FromTheBase(base.BaseLoop):
        """Nothing but what MMEngine's Runner asks a training loop for."""

        def __init__(self, runner: Any, dataloader: Any, epochs: int) -> None:
            super().__init__(runner, dataloader)
            self._max_epochs, self._max_iters = epochs, epochs * len(self.dataloader)
            self._epoch = self._iter = 0
            self.val_begin = self.val_interval = 1
            self.stop_training = False

        epoch = property(lambda self: self._epoch)
        iter = property(lambda self: self._iter)
        max_epochs = property(lambda self: self._max_epochs)
        max_iters = property(lambda self: self._max_iters)

        def run(self) -> Any:
            runner = self.runner
            runner.call_hook("before_train")
            for _ in range(self._epoch, self._max_epochs):
                runner.call_hook("before_train_epoch")
                runner.model.train()
                for idx, batch in enumerate(self.dataloader):
                    runner.call_hook("before_train_iter", batch_idx=idx, data_batch=batch)
                    outputs = runner.model.train_step(batch, optim_wrapper=runner.optim_wrapper)
                    runner.call_hook(
                        "after_train_iter", batch_idx=idx, data_batch=batch, outputs=outputs
                    )
                    self._iter += 1
                runner.call_hook("after_train_epoch")
                self._epoch += 1
                runner.val_loop.run()
            runner.call_hook("after_train")
            return runner.model

    return {
        "two loaders": TwoLoaders,
        "curriculum": Curriculum,
        "search": Search,
        "critics": Critics,
        "tries again": TriesAgain,
        "from the base": FromTheBase,
        "by epochs": ByEpochs,
        "by iterations": ByIterations,
    }


def evaluation_loops(base: Any) -> dict[str, type]:
    class TeacherStudent(base.ValLoop):
        """Two sets of weights, one validated after the other; returns nothing."""

        def run(self) -> None:
            runner = self.runner
            runner.call_hook("before_val")
            runner.call_hook("before_val_epoch")
            runner.model.eval()
            model, metrics = bare(runner.model), {}
            weights = {k: v.clone() for k, v in model.state_dict().items()}
            for name, scale in (("teacher", 0.5), ("student", 1.0)):
                model.load_state_dict({
                    k: v * scale if v.is_floating_point() else v for k, v in weights.items()
                })  # fmt: skip
                for idx, batch in enumerate(self.dataloader):
                    self.run_iter(idx, batch)
                found = self.evaluator.evaluate(len(self.dataloader.dataset))
                metrics.update({f"{name}/{key}": value for key, value in found.items()})
            runner.call_hook("after_val_epoch", metrics=metrics)
            runner.call_hook("after_val")

    class ManySets(base.BaseLoop):
        """A list of loaders, each with an evaluator of its own."""

        stage = "val"

        def __init__(self, runner: Any, dataloader: list, evaluator: list) -> None:
            self._runner = runner
            self.dataloaders = [
                runner.build_dataloader(each, seed=runner.seed) for each in dataloader
            ]
            self.evaluators = [runner.build_evaluator(each) for each in evaluator]
            self.dataloader = self.dataloaders[0]  # IterTimerHook and the log want its length

        def run(self) -> dict[str, Any]:
            runner, metrics, count = self.runner, {}, 0
            runner.call_hook(f"before_{self.stage}")
            runner.call_hook(f"before_{self.stage}_epoch")
            runner.model.eval()
            sets = zip(self.dataloaders, self.evaluators, strict=True)
            for number, (loader, evaluator) in enumerate(sets):
                for batch in loader:
                    self.run_iter(count, batch, evaluator)
                    count += 1
                found = evaluator.evaluate(len(loader.dataset))
                metrics.update({f"{key}_{number}": value for key, value in found.items()})
            metrics["accuracy"] = sum(metrics.values()) / len(metrics)
            runner.call_hook(f"after_{self.stage}_epoch", metrics=metrics)
            runner.call_hook(f"after_{self.stage}")
            return metrics

        @torch.no_grad()
        def run_iter(self, idx: int, batch: Any, evaluator: Any) -> None:
            given = {"batch_idx": idx, "data_batch": batch}
            self.runner.call_hook(f"before_{self.stage}_iter", **given)
            outputs = getattr(self.runner.model, f"{self.stage}_step")(batch)
            evaluator.process(data_samples=outputs, data_batch=batch)
            self.runner.call_hook(f"after_{self.stage}_iter", **given, outputs=outputs)

    class OwnSamplers(ManySets):
        """Sets whose evaluators say what they are given; has a loader only while it runs."""

        def __init__(
            self, runner: Any, dataloader: Any, evaluator: Any, fp16: bool = False
        ) -> None:
            given = [each if isinstance(each, list) else [each] for each in (dataloader, evaluator)]
            super().__init__(runner, *given)
            del self.dataloader
            self.fp16 = fp16

        def run(self) -> None:
            runner, found, count = self.runner, {}, 0
            runner.call_hook("before_val")
            runner.call_hook("before_val_epoch")
            runner.model.eval()
            sets = zip(self.dataloaders, self.evaluators, strict=True)
            for self.dataloader, self.evaluator in sets:
                for sampler in self.evaluator.samplers(bare(runner.model), self.dataloader):
                    for batch in sampler:
                        self.run_iter(count, batch, self.evaluator)
                        count += 1
                found.update(self.evaluator.evaluate())
            runner.call_hook("after_val_epoch", metrics=found)
            runner.call_hook("after_val")

    class Retrieval(base.ValLoop):
        """Collect a mean feature per class first, then validate."""

        def __init__(self, runner: Any, prototypes: Any, **parts: Any) -> None:
            super().__init__(runner, **parts)
            self.prototypes = runner.build_dataloader(prototypes, seed=runner.seed)

        def run(self) -> dict[str, Any]:
            self.runner.call_hook("before_val")
            self.runner.call_hook("before_val_epoch")
            self.runner.model.eval()
            features = []
            with torch.no_grad():
                for batch in self.prototypes:
                    data = bare(self.runner.model).data_preprocessor(batch, False)
                    features.append(bare(self.runner.model).net(data["inputs"]))
            for idx, batch in enumerate(self.dataloader):
                self.run_iter(idx, batch)
            metrics = self.evaluator.evaluate(len(self.dataloader.dataset))
            metrics["prototype"] = torch.cat(features).mean().item()
            self.runner.call_hook("after_val_epoch", metrics=metrics)
            self.runner.call_hook("after_val")
            return metrics

    return {
        "teacher and student": TeacherStudent,
        "many sets": ManySets,
        "many test sets": type("ManyTestSets", (ManySets,), {"stage": "test"}),
        "own samplers": OwnSamplers,
        "retrieval": Retrieval,
    }


def train_by_hand(runner: Any) -> None:
    """Train without any loop's ``run``, as a script does that only wants the parts of a Runner."""
    train_loop = runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    if runner.param_schedulers:
        runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
    runner._val_loop = runner.build_val_loop(runner._val_loop)
    runner.call_hook("before_run")
    runner._init_model_weights()
    runner.optim_wrapper.initialize_count_status(runner.model, 0, runner.max_iters)
    runner.call_hook("before_train")
    for _ in range(2):
        runner.call_hook("before_train_epoch")
        runner.model.train()
        for idx, data in enumerate(runner.train_dataloader):
            batch = {"batch_idx": idx, "data_batch": data}
            runner.call_hook("before_train_iter", **batch)
            model = bare(runner.model)
            with runner.optim_wrapper.optim_context(runner.model):
                losses = runner.model(**model.data_preprocessor(data, True), mode="loss")
            loss, outputs = model.parse_losses(losses)
            runner.optim_wrapper.update_params(loss)
            runner.call_hook("after_train_iter", **batch, outputs=outputs)
            train_loop._iter += 1
        runner.call_hook("after_train_epoch")
        train_loop._epoch += 1
        runner.val_loop.run()
    runner.call_hook("after_train")
    runner.call_hook("after_run")
