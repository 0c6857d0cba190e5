import torch
from mmcv.parallel import DataContainer as DC
from mmcv.utils import Registry
from torch.utils.data import Dataset

DATASETS = Registry("dataset")


@DATASETS.register_module()
class Stripes(Dataset):
    """Images of three kinds of stripes, with noise. Evaluates itself."""

    CLASSES = ("rows", "columns", "plain")

    def __init__(self, size=20, seed=0, test_mode=False):
        generator = torch.Generator().manual_seed(seed)
        self.labels = torch.randint(0, 3, (size,), generator=generator)
        noise = torch.randn(size, 1, 6, 6, generator=generator) * 0.3
        wave = torch.tensor([1.0, -1.0]).repeat(3)
        rows = wave[:, None].expand(6, 6)
        kinds = torch.stack([rows, rows.t(), torch.zeros(6, 6)])
        self.images = noise + kinds[self.labels][:, None]
        self.test_mode = test_mode

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        image = self.images[index]
        if not self.test_mode:
            image = image + 0.1 * torch.randn(image.shape)  # augmentation
        return dict(
            img=DC(image, stack=True),
            gt_label=DC(self.labels[index], stack=True, pad_dims=None),
            img_metas=DC(dict(index=index), cpu_only=True),
        )

    def evaluate(self, results, metric="accuracy", logger=None):
        predicted = torch.tensor([int(score.argmax()) for score in results])
        return {metric: float((predicted == self.labels).float().mean() * 100)}
