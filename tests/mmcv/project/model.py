from collections import OrderedDict

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmcv.runner import BaseModule, auto_fp16
from mmcv.utils import Registry

CLASSIFIERS = Registry("classifier")


@CLASSIFIERS.register_module()
class Classifier(BaseModule):
    """A 1.x classifier: forward(return_loss=...), train_step, val_step."""

    def __init__(self, channels=8, num_classes=3, dropout=0.2, init_cfg=None):
        super().__init__(init_cfg)
        self.fp16_enabled = False
        self.conv = nn.Conv2d(1, channels, 3, padding=1)
        self.bn = nn.BatchNorm2d(channels)
        self.drop = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, num_classes)

    def extract_feat(self, img):
        x = F.relu(self.bn(self.conv(img)))
        return self.drop(x.mean(dim=(2, 3)))

    def forward_train(self, img, gt_label, **kwargs):
        score = self.fc(self.extract_feat(img))
        loss = F.cross_entropy(score, gt_label)
        accuracy = (score.argmax(1) == gt_label).float().mean() * 100
        return dict(
            loss_cls=loss, loss_reg=[0.001 * self.fc.weight.pow(2).sum()], accuracy=accuracy
        )

    def forward_test(self, img, **kwargs):
        score = self.fc(self.extract_feat(img))
        return list(score.softmax(1).cpu().numpy())

    @auto_fp16(apply_to=("img",))
    def forward(self, img, return_loss=True, **kwargs):
        if return_loss:
            return self.forward_train(img, **kwargs)
        return self.forward_test(img, **kwargs)

    def _parse_losses(self, losses):
        log_vars = OrderedDict()
        for name, value in losses.items():
            if isinstance(value, torch.Tensor):
                log_vars[name] = value.mean()
            else:
                log_vars[name] = sum(v.mean() for v in value)
        loss = sum(v for k, v in log_vars.items() if "loss" in k)
        log_vars["loss"] = loss
        for name, value in log_vars.items():
            log_vars[name] = value.item()
        return loss, log_vars

    def train_step(self, data, optimizer=None, **kwargs):
        loss, log_vars = self._parse_losses(self(**data))
        return dict(loss=loss, log_vars=log_vars, num_samples=len(data["img"].data))

    def val_step(self, data, optimizer=None, **kwargs):
        loss, log_vars = self._parse_losses(self(**data))
        return dict(loss=loss, log_vars=log_vars, num_samples=len(data["img"].data))
