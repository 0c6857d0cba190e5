"""What pytest must not import here: programs, and the set-up of other processes."""

collect_ignore = [
    *("commands.py", "drawing.py", "flow.py", "networks.py", "reference.py", "site", "space.py"),
    *("standins", "sync_bn.py"),
]
