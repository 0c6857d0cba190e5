"""``python -m mm2pl``."""

from mm2pl.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
