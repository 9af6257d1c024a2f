"""A log as static files (C2SP tlog-tiles), and reading one that somebody published.

A tile is a row of up to 256 hashes of complete subtrees: those of level L are roots of 256^L
entries. An entry bundle holds the entries of a tile of level 0, each after its length.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from .. import merkle
from ..errors import LogCorrupt, MalformedProof, MalformedRecord, NotaryError
from ..files import read_regular
from ..keys import PublicKey
from ..statement.lines import brief, canonical, encode_file, require_object, scan_file
from . import tree
from .checkpoint import MAX_NOTE_BYTES, Checkpoint, origin_of, parse_vkey, vkey
from .leaf import leaf_hash

WIDTH = 256
HASH_BYTES = 32
MAX_LEAF_BYTES = 2**16 - 1
INDEX_NAME = "logs.jsonl"
LOG_NAME = re.compile(r"[0-9]{4,9}-[0-9a-f]{8}")
_INDEX_TYPE = "published-log/1"
_LEVEL_BITS = 8
_MAX_BUNDLE_BYTES = WIDTH * (2 + MAX_LEAF_BYTES)
_TILE = re.compile(
    r"tile/(0|[1-9][0-9]?|entries)/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?"
)
_CACHED_TILES = 256


class Tile(NamedTuple):
    """Number ``index`` of a level's tiles, ``width`` wide; an entry bundle where level is None."""

    level: int | None
    index: int
    width: int

    @property
    def path(self) -> str:
        """Where it lies below the log's prefix."""
        digits = f"{self.index:03d}"
        digits = digits.zfill(-len(digits) // 3 * -3)
        groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
        number = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
        level = "entries" if self.level is None else self.level
        partial = "" if self.width == WIDTH else f".p/{self.width}"
        return f"tile/{level}/{number}{partial}"

    @classmethod
    def from_path(cls, path: str) -> Tile | None:
        """The tile whose path this is, None where it is none's."""
        found = _TILE.fullmatch(path)
        if not found:
            return None
        level = None if found[1] == "entries" else int(found[1])
        index = int(found[2].replace("x", "").replace("/", ""))
        tile = cls(level, index, int(found[3] or WIDTH))
        return tile if tile.path == path else None

    @property
    def full(self) -> Tile:
        return self._replace(width=WIDTH)


def widths(size: int) -> list[int]:
    """How many hashes a tree of ``size`` entries has at each tile level, from level 0 on."""
    found = []
    while size:
        found.append(size)
        size //= WIDTH
    return found


def encode_bundle(leaves: Sequence[bytes]) -> bytes:
    """An entry bundle: each entry after its length, two bytes big-endian."""
    for leaf in leaves:
        if len(leaf) > MAX_LEAF_BYTES:
            raise LogCorrupt(
                "an entry is too long to be published", expected=MAX_LEAF_BYTES, actual=len(leaf)
            )
    return b"".join(len(leaf).to_bytes(2, "big") + leaf for leaf in leaves)


def decode_bundle(data: bytes) -> list[bytes]:
    """The entries of a bundle; MalformedRecord where it is cut short."""
    leaves, start = [], 0
    while start < len(data):
        end = start + 2 + int.from_bytes(data[start : start + 2], "big")
        if end > len(data) or start + 2 > len(data):
            raise MalformedRecord(
                "an entry bundle is cut short", expected=f"{end} bytes", actual=len(data)
            )
        leaves.append(data[start + 2 : end])
        start = end
    return leaves


def encode_index(logs: Sequence[tuple[str, PublicKey]]) -> bytes:
    """logs.jsonl: the folder, origin and verifier key of every published log."""
    return encode_file(
        [
            canonical(
                {
                    "log": name,
                    "origin": origin_of(key),
                    "type": _INDEX_TYPE,
                    "vkey": vkey(origin_of(key), key),
                }
            )
            for name, key in sorted(logs, key=lambda log: log[0])
        ]
    )


def read_index(folder: Path) -> dict[str, PublicKey]:
    """The logs that are published in ``folder``: the key of each by its folder's name."""
    found = {}
    data = read_regular(folder / INDEX_NAME, MAX_NOTE_BYTES * 16)
    for _, value in scan_file(data, name=INDEX_NAME, sorted_by="log"):
        require_object(value, f"a line of {INDEX_NAME}", ("log", "origin", "type", "vkey"))
        name, given = value["log"], value["vkey"]
        if value["type"] != _INDEX_TYPE:
            raise MalformedRecord(
                f"a line of {INDEX_NAME} of an unknown type",
                expected=_INDEX_TYPE,
                actual=brief(value["type"]),
            )
        if type(name) is not str or not LOG_NAME.fullmatch(name) or type(given) is not str:
            raise MalformedRecord(f"a line of {INDEX_NAME} names no log", actual=brief(name))
        origin, key = parse_vkey(given)
        if not value["origin"] == origin == origin_of(key):
            raise MalformedRecord(
                f"{name} in {INDEX_NAME} has another key's origin",
                expected=origin_of(key),
                actual=brief(value["origin"]),
            )
        found[name] = key
    return found


class PublishedLog:
    """A published log, read with suspicion: whatever it answers follows from its checkpoint.

    Proofs are read like `LogReader`'s; LogCorrupt where a file is missing, or where the files
    do not add up to the checkpoint that the log's key signed.
    """

    def __init__(self, path: Path, public_key: PublicKey) -> None:
        self.path = path
        self.public_key = public_key
        self.origin = origin_of(public_key)
        self._note = self._file("checkpoint", MAX_NOTE_BYTES).decode("utf-8", "replace")
        self._checkpoint = Checkpoint.verify(self._note, public_key)
        self._tiles: OrderedDict[tuple[int, int], bytes] = OrderedDict()

    @classmethod
    def open(cls, path: Path) -> PublishedLog:
        """The log in the folder ``path`` of a published folder, whose logs.jsonl has its key."""
        keys = read_index(path.parent)
        if path.name not in keys:
            raise NotaryError(
                f"{path.parent / INDEX_NAME} does not name {path.name}",
                expected=" or ".join(keys),
                actual=path.name,
                next_step="name one of the published logs",
            )
        return cls(path, keys[path.name])

    @classmethod
    def all_in(cls, folder: Path) -> list[PublishedLog]:
        """Every log that is published in ``folder``, in the order they were begun."""
        return [cls(folder / name, key) for name, key in read_index(folder).items()]

    def close(self) -> None:
        """Nothing is held open; a `LogReader`, which this stands for, has a connection."""

    def __enter__(self) -> PublishedLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def checkpoint(self) -> tuple[int, str]:
        """Size and note of its checkpoint."""
        return self._checkpoint.size, self._note

    def size(self) -> int:
        return self._checkpoint.size

    def root(self, size: int) -> bytes:
        """The root of the first ``size`` entries, proven to be the one the checkpoint extends."""
        final = self._checkpoint
        self._require(0 <= size <= final.size, "tree", size)
        if size == final.size:
            return final.root
        if size == 0:
            return tree.EMPTY_ROOT
        root = tree.root(self._node, size)
        proof = tree.consistency_proof(self._node, size, final.size)
        self._verify(merkle.verify_consistency, size, final.size, proof, root, final.root)
        return root

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """The proof (RFC 9162 §2.1.3.1) that entry ``index`` is among the first ``size``."""
        self._require(0 <= index < size <= self.size(), "inclusion proof", index, size)
        proof = tree.inclusion_proof(self._node, index, size)
        leaf = self._node(0, index)
        self._verify(merkle.verify_inclusion, index, size, leaf, proof, self.root(size))
        return proof

    def consistency_proof(self, size1: int, size2: int) -> list[bytes]:
        """The proof (RFC 9162 §2.1.4.1) from ``size1`` to ``size2`` entries, 0 < size1 ≤ size2."""
        self._require(0 < size1 <= size2 <= self.size(), "consistency proof", size1, size2)
        proof = tree.consistency_proof(self._node, size1, size2)
        roots = self.root(size1), self.root(size2)
        self._verify(merkle.verify_consistency, size1, size2, proof, *roots)
        return proof

    def leaf(self, index: int) -> bytes:
        """Entry ``index``, proven to be in the log."""
        self.inclusion_proof(index, self.size())
        number, place = divmod(index, WIDTH)
        try:
            leaves = decode_bundle(self._tile(None, number))
        except MalformedRecord as error:
            raise self._corrupt(error.reason) from None
        if place >= len(leaves) or leaf_hash(leaves[place]) != self._node(0, index):
            raise self._corrupt(f"its entry {index} is not the one its tree has")
        return leaves[place]

    def _node(self, level: int, index: int) -> bytes:
        """The root of a complete subtree, from the tile that has its parts."""
        tile_level, height = divmod(level, _LEVEL_BITS)
        number, place = divmod(index << height, WIDTH)
        row = self._tile(tile_level, number)
        hashes = [
            row[i * HASH_BYTES : (i + 1) * HASH_BYTES] for i in range(place, place + (1 << height))
        ]
        while len(hashes) > 1:
            hashes = [tree.node_hash(*hashes[i : i + 2]) for i in range(0, len(hashes), 2)]
        return hashes[0]

    def _tile(self, level: int | None, number: int) -> bytes:
        """The content of a tile or bundle as far as the checkpoint reaches."""
        key = (-1 if level is None else level, number)
        if key in self._tiles:
            return self._tiles[key]
        hashes = self._checkpoint.size // WIDTH ** (level or 0)
        tile = Tile(level, number, min(WIDTH, hashes - number * WIDTH))
        data = self._tile_file(tile)
        if level is not None and len(data) != tile.width * HASH_BYTES:
            raise self._corrupt(f"{tile.path} has {len(data)} bytes")
        self._tiles[key] = data
        if len(self._tiles) > _CACHED_TILES:
            self._tiles.popitem(last=False)
        return data

    def _tile_file(self, tile: Tile) -> bytes:
        limit = _MAX_BUNDLE_BYTES if tile.level is None else WIDTH * HASH_BYTES
        try:
            return self._file(tile.path, limit)
        except LogCorrupt:
            # A partial tile may be deleted once the full one is there.
            if tile.width == WIDTH or not (self.path / tile.full.path).exists():
                raise
        data = self._file(tile.full.path, limit)
        return data if tile.level is None else data[: tile.width * HASH_BYTES]

    def _file(self, name: str, limit: int) -> bytes:
        try:
            return read_regular(self.path / name, limit)
        except OSError as error:
            raise self._corrupt(f"{name} cannot be read: {error.strerror}") from None

    def _verify(self, check, *values) -> None:
        try:
            check(*values)
        except NotaryError as error:
            raise self._corrupt(
                f"its tiles do not add up to its checkpoint: {error.reason}"
            ) from None

    def _require(self, possible: bool, what: str, *sizes: int) -> None:
        if not possible:
            raise MalformedProof(
                f"there is no such {what} in the log {self.path}",
                expected=f"sizes up to {self.size()}",
                actual=" and ".join(map(str, sizes)),
            )

    def _corrupt(self, what: str) -> LogCorrupt:
        return LogCorrupt(
            f"the published log {self.path}: {what}",
            next_step="its owner can check it: torchnotary log publish DIR --check",
        )
