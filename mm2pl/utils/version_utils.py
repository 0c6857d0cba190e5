"""Versions as tuples, and git's hash."""

from __future__ import annotations

import os
import subprocess
import warnings

from mm2pl.errors import ArgumentError

_PRERELEASES = {"a": -3, "b": -2, "rc": -1}


def digit_version(version_str: str, length: int = 4) -> tuple[int, ...]:
    """Return a version as numbers that compare; stands for `mmengine.utils.digit_version`.

    ``length`` release numbers are followed by two for what comes before or after the release.

    Raises:
        ArgumentError: ``version_str`` is not a version.

    Example:
        >>> digit_version("1.2.3"), digit_version("2.0rc1") < digit_version("2.0")
        ((1, 2, 3, 0, 0, 0), True)
    """
    # Takes 25 ms to import, and is needed only here.
    from packaging.version import InvalidVersion, parse

    # Parrots, another framework that OpenMMLab served, gives its name as torch's version.
    if "parrots" in version_str:
        raise ArgumentError(f"{version_str!r} is not a version of PyTorch")
    try:
        version = parse(version_str)
    except InvalidVersion as error:
        raise ArgumentError(f"failed to parse version {version_str}") from error
    release = (*version.release, *[0] * length)[:length]
    # 1.0rc1.post2 is both. As in MMEngine 0.10.7, the release candidate counts.
    if version.is_prerelease:
        kind, number = version.pre or ("dev", 0)
        if kind not in (*_PRERELEASES, "dev"):
            warnings.warn(
                f"unknown prerelease version {kind}, version checking may go wrong", stacklevel=2
            )
        # Development versions come before alphas, as in MMEngine 0.10.7.
        return (*release, _PRERELEASES.get(kind, -4), number)
    return (*release, 1, version.post) if version.post is not None else (*release, 0, 0)


def get_git_hash(fallback: str = "unknown", digits: int | None = None) -> str:
    """Return the present folder's commit.

    Args:
        fallback: What to return if git is not installed.
        digits: How many characters of it; None: all.

    Raises:
        TypeError: ``digits`` is not an integer.
    """
    if not (digits is None or isinstance(digits, int)):
        raise TypeError(f"digits must be None or an integer, but got {digits!r}")
    # Without GIT_DIR, which is set inside a git hook and would name another repository.
    env = {k: os.environ[k] for k in ("SYSTEMROOT", "PATH", "HOME") if k in os.environ}
    env |= dict.fromkeys(("LANGUAGE", "LANG", "LC_ALL"), "C")
    try:
        run = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, env=env, text=True)
    except OSError:
        return fallback
    # Outside a repository that is '', as in MMEngine 0.10.7: git then prints only an error.
    return run.stdout.strip()[:digits]
