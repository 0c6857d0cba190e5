"""What may be published: ``tox -e package`` builds it, installs it away from the checkout and runs it.

The source distribution must hold every tracked file. The wheel goes into an empty environment with the
tested versions and runs the configs of the unpacked source distribution. Then each extra is installed by
itself, and what it is for is tried without it (one message) and with it.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "import numpy; from mm2pl.visualization import Visualizer; "
DRAW = (
    IMAGE
    + "Visualizer(image=numpy.zeros((9, 9, 3), numpy.uint8)).draw_texts('a', numpy.array([1, 1]))"
)
BOARD = "from mm2pl.visualization import TensorboardVisBackend as B; B('board').add_scalar('a', 1)"


class Extra(NamedTuple):
    """What an extra is for: a command of the environment, and the words that must stand in its output without it."""

    command: Sequence[str]
    missing: str


EXTRAS = {
    "examples": Extra(("mm2pl", "fit", "configs/digits_resnet.py", "--trainer.max_epochs", "1"), "sklearn"),
    "plot": Extra(("mm2pl", "plot", "schedule", "configs/rings_mlp.py", "--out", "s.png"), "mm2pl[plot]"),
    "visual": Extra(("python", "-c", DRAW), "mm2pl[visual]"),
    "tensorboard": Extra(("python", "-c", BOARD), "tensorboard"),
    "migrate": Extra(("mm2pl", "migrate", "--code", "not_installed/registry", "--diff"), "mm2pl[migrate]"),
}  # fmt: skip


class Environment:
    """An environment of its own; ``base`` is one whose packages it sees."""

    def __init__(self, folder: Path, base: Environment | None = None) -> None:
        venv.create(folder, with_pip=True)
        self.bin = folder / "bin"
        (self.site,) = folder.glob("lib/python*/site-packages")
        if base is not None:
            (self.site / "base.pth").write_text(f"{base.site}\n")
            (self.bin / "mm2pl").write_text(
                (base.bin / "mm2pl").read_text().replace(str(base.bin), str(self.bin))
            )
            (self.bin / "mm2pl").chmod(0o755)

    def run(self, *command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run one of its programs in a folder."""
        return subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            cwd=cwd,
            env={"PATH": str(self.bin)},
            capture_output=True,
            text=True,
        )

    def install(self, *requirements: str) -> None:
        """Install the tested versions.

        Raises:
            RuntimeError: pip failed.
        """
        constraints = ("-c", str(ROOT / "constraints.txt"))
        command = [
            str(self.bin / "python"),
            "-m",
            "pip",
            "install",
            "-q",
            *constraints,
            *requirements,
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr)


def unpacked(dist: Path, folder: Path) -> Path:
    """Unpack the source distribution, and compare it with what is tracked."""
    (archive,) = dist.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    (source,) = folder.glob("mm2pl-*")
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    absent = [name for name in tracked.stdout.splitlines() if not (source / name).exists()]
    expect(not absent, f"the source distribution lacks {absent[:5]} ({len(absent)} files)")
    return source


def expect(right: bool, otherwise: str) -> None:
    """End with a sentence when something is not as it must be."""
    if not right:
        raise SystemExit(f"not fit to be published: {otherwise}")


def tried(extra: str, environment: Environment, source: Path, wheel: Path) -> str:
    """Try what an extra is for without it and with it; return a row of the table."""
    command, missing = EXTRAS[extra]
    before = environment.run(*command, cwd=source)
    told = before.stdout + before.stderr
    expect(missing in told, f"without [{extra}], {command} says {told[-500:]!r}")
    environment.install(f"{wheel}[{extra}]")
    after = environment.run(*command, cwd=source)
    expect(after.returncode == 0, f"with [{extra}], {command} says {after.stderr[-2000:]}")
    expect(
        missing not in after.stdout + after.stderr,
        f"with [{extra}], {command} still names {missing}",
    )
    return f"{extra:12} exit {before.returncode} without it, 0 with it"


def main(dist: str, scratch: str) -> None:
    """Check what ``python -m build`` left in ``dist``."""
    folder = Path(scratch)
    source = unpacked(Path(dist), folder)
    # A package in the working folder would be imported instead of the installed one.
    (source / "mm2pl").rename(source / "not_installed")
    (wheel,) = Path(dist).glob("*.whl")
    base = Environment(folder / "base")
    base.install(str(wheel))
    told = base.run("mm2pl", "--version", cwd=source)
    expect(told.returncode == 0, told.stderr)
    place = base.run("python", "-c", "import mm2pl; print(mm2pl.__file__)", cwd=source).stdout
    expect(place.startswith(str(base.site)), f"mm2pl is imported from {place}")
    expect((base.site / "mm2pl" / "py.typed").exists(), "the wheel lacks py.typed")
    print(told.stdout.strip())
    for extra in EXTRAS:
        print(tried(extra, Environment(folder / extra, base), source, wheel))


if __name__ == "__main__":
    main(*sys.argv[1:])
