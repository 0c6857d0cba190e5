from __future__ import annotations

import hashlib
import http.server
import socket
import threading
from pathlib import Path

import pytest
import torch

from mm2pl.checkpoint import download as module
from mm2pl.checkpoint.download import download
from mm2pl.checkpoint.loader import load_url
from mm2pl.checkpoint.reader import CheckpointError


class Answers(http.server.BaseHTTPRequestHandler):
    """Answer as the path says: a status, or one of the ways to break off."""

    content = b"0123456789" * 100

    def do_GET(self):
        what = self.path.strip("/").partition(".")[0].partition("-")[0]
        if what == "never":
            threading.Event().wait(3)
            return
        self.send_response(int(what) if what.isdigit() else 200)
        if what != "unsized":
            self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content[: 500 if what == "half" else None])

    def log_message(self, *args):
        pass


@pytest.fixture
def url():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as running:
        running.daemon_threads = True
        running.block_on_close = False
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["whole.pth", "unsized.pth"])
def test_a_whole_file(url, tmp_path, name):
    assert download(f"{url}/{name}?x=1", tmp_path, progress=False).read_bytes() == Answers.content


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("404.pth", "the server answers 404 Not Found"),
        ("500.pth", "the server answers 500 Internal Server Error"),
        ("half.pth", "500 of its 1000 bytes came"),
        ("never.pth", "timed out"),
    ],
)
def test_one_message_for_what_does_not_come(url, tmp_path, monkeypatch, name, reason):
    monkeypatch.setattr(module, "TIMEOUT", 0.3)
    said = rf"^{url}/{name} could not be downloaded: {reason} → check .* give its path$"
    with pytest.raises(CheckpointError, match=said):
        download(f"{url}/{name}", tmp_path, progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("http://127.0.0.1:{port}/x.pth", r"\[Errno \d+\] Connection refused"),
        ("http://no.such.host.invalid/x.pth", r"\[Errno -?\d+\] "),
    ],
)
def test_nobody_there(tmp_path, address, reason):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(CheckpointError, match=rf"x\.pth could not be downloaded: {reason}"):
        download(address.format(port=port), tmp_path, progress=False)


def test_a_disk_that_cannot_be_written_is_not_the_network(url, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"Not a directory|File exists"):
        download(f"{url}/whole.pth", tmp_path / "file", progress=False)


def test_the_hash_in_the_name(url, tmp_path):
    digest = hashlib.sha256(Answers.content).hexdigest()[:8]
    kept = download(f"{url}/whole-{digest}.pth", tmp_path, progress=False, check_hash=True)
    assert kept.name == f"whole-{digest}.pth"
    with pytest.raises(
        CheckpointError, match=r"another content than its name .*deadbeef is needed"
    ):
        download(f"{url}/whole-deadbeef.pth", tmp_path, progress=False, check_hash=True)


def test_load_url_keeps_and_reads(tmp_path):
    torch.save({"w": torch.ones(1)}, tmp_path / "mine.pth")
    content = load_url("http://nowhere/x.pth", str(tmp_path), "cpu", file_name="mine.pth")
    assert content["w"].item() == 1.0
    Path(tmp_path, "mine.pth").write_text("<html>")
    with pytest.raises(CheckpointError, match=r"mine.pth .*delete it to download again"):
        load_url("http://nowhere/x.pth", str(tmp_path), file_name="mine.pth")
