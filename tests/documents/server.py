"""A process that has imported everything, and forks one for each command of a page.

An import of torch and Lightning takes five seconds, one of scikit-learn as many, a fork a few milliseconds.
``mm2pl`` and ``python`` in a page's ``PATH`` are the same small client (:data:`CLIENT`), which sends its words,
folder, environment and streams here and exits as the forked process does.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

#: Starts without ``site``, in some milliseconds.
CLIENT = """#!{python} -SE
import json, os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({socket!r})
told = json.dumps([sys.argv, os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(server, [len(told).to_bytes(4, "big")], [0, 1, 2])
server.sendall(told)
sys.exit(int(server.recv(8) or 1))
"""


def install(folder: Path, address: Path) -> None:
    """Write the commands ``mm2pl`` and ``python`` into a folder."""
    folder.mkdir(parents=True)
    for name in ("mm2pl", "python"):
        client = folder / name
        client.write_text(CLIENT.format(python=sys.executable, socket=str(address)))
        client.chmod(0o755)


def run(words: Sequence[str]) -> int:
    """Do what a shell's ``mm2pl …`` or ``python …`` does, in this process."""
    program, *rest = words
    # Lightning starts the other processes of a run by `__main__`'s name, or where it has none by the script's path.
    sys.modules["__main__"].__spec__ = None
    if Path(program).name == "mm2pl":
        from mm2pl.cli import main

        sys.argv = [program, *rest]
        return main()
    match rest:
        case ["-m", module, *arguments]:
            sys.argv = [module, *arguments]
            sys.path.insert(0, os.getcwd())
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case ["-c", code, *arguments]:
            sys.argv = ["-c", *arguments]
            sys.path.insert(0, "")
            exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
        case [file, *arguments] if not file.startswith("-"):
            sys.argv = [file, *arguments]
            sys.path.insert(0, str(Path(file).resolve().parent))
            runpy.run_path(file, run_name="__main__")
        case _:
            os.execv(sys.executable, [sys.executable, *rest])
    return 0


def become(connection: socket.socket) -> list[str]:
    """Take over the streams, folder and environment of the client; return its words."""
    size, streams, _, _ = socket.recv_fds(connection, 4, 3)
    told = bytearray()
    while len(told) < int.from_bytes(size, "big"):
        told += connection.recv(65536)
    words, folder, environment = json.loads(told)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    return words


def import_everything() -> None:
    """Import what the commands import when they need it."""
    import matplotlib.pyplot  # noqa: F401
    import sklearn.datasets  # noqa: F401
    import torch.distributed  # noqa: F401

    import mm2pl.cli.main
    import mm2pl.hooks
    import mm2pl.lightning
    import mm2pl.runner
    import mm2pl.visualization  # noqa: F401


def main(address: str) -> int:
    """Serve until killed; in a forked process return the exit status of its command."""
    import_everything()
    # Collections of a forked process would go through all that was imported, and copy its pages.
    gc.freeze()
    server = socket.socket(socket.AF_UNIX)
    server.bind(address)
    server.listen()
    print("ready", flush=True)
    while True:
        connection, _ = server.accept()
        if os.fork():
            connection.close()
            continue
        server.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # The client needs the status of a process that ends as any other: this one waits for it.
        if child := os.fork():
            _, status = os.waitpid(child, 0)
            connection.sendall(str(os.waitstatus_to_exitcode(status) % 256).encode())
            os._exit(0)
        return run(become(connection))


if __name__ == "__main__":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    sys.exit(main(sys.argv[1]))
