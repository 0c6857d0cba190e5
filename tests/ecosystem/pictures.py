"""Small data sets on disk, in the forms that the toolboxes read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SPLITS = {"train": 24, "val": 8}


def _picture(rng: np.random.Generator, height: int, width: int) -> Image.Image:
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def classes(root: Path) -> None:
    """ImageNet's form: a folder for each of four classes."""
    rng = np.random.default_rng(0)
    for split, number in SPLITS.items():
        for index in range(number):
            folder = root / split / f"class{index % 4}"
            folder.mkdir(parents=True, exist_ok=True)
            _picture(rng, 48, 40).save(folder / f"{index}.png")


def masks(root: Path) -> None:
    """Cityscapes' form: pictures, and a picture of class numbers for each."""
    rng = np.random.default_rng(0)
    for split, number in SPLITS.items():
        for index in range(number):
            name = f"town/town_{index:06}_000019"
            picture = root / "leftImg8bit" / split / f"{name}_leftImg8bit.png"
            mask = root / "gtFine" / split / f"{name}_gtFine_labelTrainIds.png"
            for path in (picture, mask):
                path.parent.mkdir(parents=True, exist_ok=True)
            _picture(rng, 64, 96).save(picture)
            blocks = rng.integers(0, 19, (8, 12), dtype=np.uint8)
            Image.fromarray(np.kron(blocks, np.ones((8, 8), np.uint8))).save(mask)


def boxes(root: Path) -> None:
    """COCO's form: pictures, and a file of boxes with 17 keypoints."""
    rng = np.random.default_rng(0)
    names = json.loads((Path(__file__).parent / "coco_classes.json").read_text())
    categories = [{"id": index + 1, "name": name} for index, name in enumerate(names)]
    (root / "annotations").mkdir(parents=True)
    for split, number in SPLITS.items():
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for index in range(1, number + 1):
            name = f"{index:012}.jpg"
            (root / f"{split}2017").mkdir(exist_ok=True)
            _picture(rng, 64, 96).save(root / f"{split}2017" / name)
            images.append({"id": index, "file_name": name, "height": 64, "width": 96})
            annotations += [
                _person(rng, index, len(annotations) + 1 + count, kind)
                for count, kind in enumerate((1, int(rng.integers(1, len(names) + 1))))
                if not (split == "val" and kind > 1)
            ]
        for kind in ("instances", "person_keypoints"):
            kept = [a for a in annotations if kind == "instances" or a["category_id"] == 1]
            content = {"info": {}, "images": images, "annotations": kept, "categories": categories}
            if kind == "person_keypoints":
                content["categories"] = categories[:1]
            path = root / "annotations" / f"{kind}_{split}2017.json"
            path.write_text(json.dumps(content))


def _person(rng: np.random.Generator, image: int, number: int, kind: int) -> dict[str, Any]:
    x, y = (int(v) for v in rng.integers(0, 30, 2))
    width, height = (int(v) for v in rng.integers(20, 34, 2))
    points = np.stack(
        [rng.integers(x, x + width, 17), rng.integers(y, y + height, 17), np.full(17, 2)], axis=1
    )
    return {
        "id": number,
        "image_id": image,
        "category_id": kind,
        "bbox": [x, y, width, height],
        "area": width * height,
        "iscrowd": 0,
        "segmentation": [[x, y, x + width, y, x + width, y + height, x, y + height]],
        "num_keypoints": 17,
        "keypoints": points.ravel().tolist(),
    }


def pairs(root: Path) -> None:
    """MMagic's form: pictures, and the same four times as small."""
    rng = np.random.default_rng(0)
    for folder in ("large", "small"):
        (root / folder).mkdir(parents=True)
    for index in range(SPLITS["val"]):
        small = _picture(rng, 16, 16)
        small.save(root / f"small/{index}.png")
        small.resize((64, 64)).save(root / f"large/{index}.png")


def turned_boxes(root: Path) -> None:
    """DOTA's form: pictures, and a text for each with the corners of turned boxes."""
    rng = np.random.default_rng(0)
    for folder in ("images", "annfiles"):
        (root / "trainval" / folder).mkdir(parents=True)
    for index in range(SPLITS["train"]):
        _picture(rng, 96, 96).save(root / f"trainval/images/{index}.png")
        lines = []
        for _ in range(3):
            centre, half, angle = rng.uniform(30, 66, 2), rng.uniform(8, 24, 2), rng.uniform(0, 3)
            along = np.array([np.cos(angle), np.sin(angle)]) * half[0]
            across = np.array([-np.sin(angle), np.cos(angle)]) * half[1]
            corners = [-along - across, along - across, along + across, across - along]
            places = " ".join(f"{value:.1f}" for corner in corners for value in centre + corner)
            lines.append(f"{places} plane 0\n")
        (root / f"trainval/annfiles/{index}.txt").write_text("".join(lines))


def captions(root: Path) -> None:
    """Flickr30k's form: pictures with two sentences each, and the words of a tokenizer."""
    rng = np.random.default_rng(0)
    colours = ("red", "green", "blue", "white", "black")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "picture", "of", "and", *colours]
    for folder in ("images", "words"):
        (root / folder).mkdir(parents=True)
    (root / "words/vocab.txt").write_text("\n".join(words))
    images = []
    for split, number in {**SPLITS, "test": SPLITS["val"]}.items():
        for _ in range(number):
            name = f"{len(images)}.jpg"
            _picture(rng, 48, 40).save(root / "images" / name)
            sentences = [
                {
                    "raw": f"a picture of {' and '.join(rng.permutation(colours)[:3])}",
                    "sentid": 2 * len(images) + count,
                }
                for count in range(2)
            ]
            image = {"filename": name, "imgid": len(images), "split": split}
            images.append({**image, "sentences": sentences})
    (root / "captions.json").write_text(json.dumps({"images": images}))


def videos(root: Path) -> None:
    """Kinetics' form: videos and a list of their classes; and pictures with another."""
    import cv2

    rng = np.random.default_rng(0)
    root.mkdir(parents=True)
    for index in range(12):
        _picture(rng, 48, 64).save(root / f"{index}.png")
        film = cv2.VideoWriter(
            str(root / f"{index}.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48)
        )
        for _ in range(12):
            film.write(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8))
        film.release()
    for kind, ending in {"videos": "avi", "pictures": "png"}.items():
        lines = [f"{index}.{ending} {index % 4}" for index in range(12)]
        (root / f"{kind}.txt").write_text("\n".join(lines))
