"""Classify scikit-learn's 1,797 scanned digits (8×8 pixels) with a small ResNet."""

from examples.digits.dataset import DigitsDataset as DigitsDataset
from examples.digits.metric import DigitsAccuracy as DigitsAccuracy
from examples.digits.model import DigitsResNet as DigitsResNet
