from mmcv.runner import HOOKS, Hook, OptimizerHook


@HOOKS.register_module()
class RecordHook(Hook):
    """Keep what every iteration did."""

    def before_run(self, runner):
        self.losses, self.lrs, self.points = [], [], []

    def before_train_epoch(self, runner):
        self.points.append(f"train epoch {runner.epoch}")

    def before_val_epoch(self, runner):
        self.points.append(f"val epoch {runner.epoch}")

    def after_train_iter(self, runner):
        self.losses.append(runner.outputs["loss"].item())
        self.lrs.append(runner.current_lr()[0])

    def after_val_iter(self, runner):
        self.losses.append(-runner.outputs["loss"].item())

    def after_run(self, runner):
        self.points.append(f"end {runner.epoch} {runner.iter}")


@HOOKS.register_module()
class CentralizeHook(OptimizerHook):
    """An OptimizerHook of one's own: gradients lose their mean."""

    def after_train_iter(self, runner):
        runner.optimizer.zero_grad()
        runner.outputs["loss"].backward()
        for parameter in runner.model.parameters():
            if parameter.grad is not None and parameter.grad.dim() > 1:
                parameter.grad -= parameter.grad.mean()
        if self.grad_clip is not None:
            self.clip_grads(runner.model.parameters())
        runner.optimizer.step()
