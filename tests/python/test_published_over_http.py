"""Published logs behind an ordinary web server, read by a client made from the specifications."""

from __future__ import annotations

import base64
import json
import struct
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import urlopen

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

import rfc9162_reference as reference
from published_logs import GrowingLog
from torchnotary.log.publish import publish


class Client:
    """A minimal client of tlog-tiles, tlog-checkpoint and signed-note; it knows no torchnotary."""

    def __init__(self, prefix: str, vkey: str) -> None:
        self.prefix = prefix
        self.name, key_id, typed = vkey.split("+", 2)
        typed = base64.b64decode(typed)
        assert typed[0] == 1
        assert reference.sha(self.name.encode() + b"\n" + typed)[:4].hex() == key_id
        self.key_id, self.key = bytes.fromhex(key_id), typed[1:]

    def get(self, path: str) -> bytes:
        with urlopen(f"{self.prefix}/{path}", timeout=10) as answer:
            return answer.read()

    def checkpoint(self) -> tuple[int, bytes]:
        text, _, lines = self.get("checkpoint").decode().rpartition("\n\n")
        name, data = lines.splitlines()[0].removeprefix("— ").split(" ")
        data = base64.b64decode(data)
        assert (name, data[:4]) == (self.name, self.key_id)
        Ed25519PublicKey.from_public_bytes(self.key).verify(data[4:], f"{text}\n".encode())
        origin, size, root = text.split("\n")
        assert origin == self.name
        return int(size), base64.b64decode(root)

    def row(self, kind: str, n: int, size: int) -> bytes:
        width = min(256, size - 256 * n)
        partial_tile = "" if width == 256 else f".p/{width}"
        return self.get(f"tile/{kind}/{n:03d}{partial_tile}")

    def hashes(self, size: int) -> list[bytes]:
        rows = b"".join(self.row("0", n, size) for n in range(-(-size // 256)))
        return [rows[i : i + 32] for i in range(0, len(rows), 32)]

    def entries(self, size: int) -> list[bytes]:
        data = b"".join(self.row("entries", n, size) for n in range(-(-size // 256)))
        found = []
        while data:
            (length,) = struct.unpack(">H", data[:2])
            found.append(data[2 : 2 + length])
            data = data[2 + length :]
        return found


def tree_path(index: int, hashes: list[bytes]) -> list[bytes]:
    """RFC 9162 §2.1.3.1 over leaf hashes."""
    if len(hashes) == 1:
        return []
    k = reference.split(len(hashes))
    if index < k:
        return [*tree_path(index, hashes[:k]), tree_root(hashes[k:])]
    return [*tree_path(index - k, hashes[k:]), tree_root(hashes[:k])]


def tree_root(hashes: list[bytes]) -> bytes:
    if len(hashes) == 1:
        return hashes[0]
    k = reference.split(len(hashes))
    return reference.sha(b"\1" + tree_root(hashes[:k]) + tree_root(hashes[k:]))


def tree_consistency(m: int, hashes: list[bytes], whole: bool = True) -> list[bytes]:
    """RFC 9162 §2.1.4.1 over leaf hashes."""
    if m == len(hashes):
        return [] if whole else [tree_root(hashes)]
    k = reference.split(len(hashes))
    if m <= k:
        return [*tree_consistency(m, hashes[:k], whole), tree_root(hashes[k:])]
    return [*tree_consistency(m - k, hashes[k:], False), tree_root(hashes[:k])]


@pytest.fixture
def served(tmp_path):
    """A folder to publish in, and the address at which a web server serves it."""
    out = tmp_path / "out"
    out.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=out))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield out, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_client_of_tlog_tiles_verifies_inclusion_and_consistency(served, tmp_path):
    out, address = served
    log = GrowingLog(tmp_path / "log").grow(300)
    publish(log.path.parent, out)
    with urlopen(f"{address}/logs.jsonl", timeout=10) as answer:
        (line,) = map(json.loads, answer.read().splitlines())
    client = Client(f"{address}/{line['log']}", line["vkey"])
    size1, root1 = client.checkpoint()
    publish(log.grow(515).path.parent, out)
    size2, root2 = client.checkpoint()
    assert (size1, size2) == (300, 515)

    hashes, entries = client.hashes(size2), client.entries(size2)
    assert entries == log.leaves
    assert [reference.sha(b"\0" + entry) for entry in entries] == hashes
    for index in (0, 255, 256, 299, 300, 511, 512, 514):
        proof = tree_path(index, hashes)
        assert reference.inclusion_root(index, size2, hashes[index], proof) == root2
    proof = tree_consistency(size1, hashes)
    assert reference.consistency_roots(size1, size2, proof, root1) == (root1, root2)
    # Level 1 is what level 0 adds up to.
    assert client.get("tile/1/000.p/2") == tree_root(hashes[:256]) + tree_root(hashes[256:512])
