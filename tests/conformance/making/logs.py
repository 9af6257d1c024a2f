"""The proof that a record is in its log: its text, its arithmetic, and its checkpoint."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator

from torchnotary.keys import SigningKey
from torchnotary.log.checkpoint import Checkpoint, key_id
from torchnotary.log.proofs import TlogProof
from torchnotary.statement.envelope import encode_base64

from .cases import Case, bad
from .draft import Draft, filler
from .edits import Edit, base64, exchange, flip, insert, instead, last_word, line, repeat
from .genuine import ELSEWHERE, LOGGED, OTHER
from .identities import LOG, OTHER_LOG, SIGNER, STRANGER, fixed

# Lines of LOGGED's proof: version, index, four hashes, empty, origin, size, root, empty, signature.
_VERSION, _INDEX, _HASH, _ORIGIN, _SIZE, _ROOT, _SIGNATURE = 0, 1, 2, 7, 8, 9, 11


def cases() -> Iterator[Case]:
    yield from _texts()
    yield from _arithmetic()
    yield from _notes()
    yield from _histories()


def _hashes(change: Callable[[list[str]], list[str]]) -> Edit:
    """Edits the hashes of LOGGED's proof, each a line."""

    def edit(text: str) -> str:
        lines = text.split("\n")
        return "\n".join([*lines[:_HASH], *change(lines[_HASH:6]), *lines[6:]])

    return edit


def _log(name: str, why: str, edit: Edit, record: Draft = LOGGED) -> Case:
    return bad(name, "log inclusion", why, record.but(proof=edit))


def _texts() -> Iterator[Case]:
    for name, why, edit in (
        ("version-2", "a version that does not exist", instead("proof@v1", "proof@v2")),
        ("extra-data", "data that nothing signs", insert(_INDEX, "extra aGVsbG8=")),
        ("line-added", "a line the format does not have", insert(_HASH, "comment")),
        ("line-empty", "an empty line among the hashes", insert(_HASH + 1, "")),
        ("index-missing", "no index", line(_INDEX, lambda text: None)),
        ("index-negative", "a negative index", line(_INDEX, lambda text: "index -5")),
        ("index-leading-zero", "a zero before the index", line(_INDEX, lambda text: "index 05")),
        ("index-hexadecimal", "a hexadecimal index", line(_INDEX, lambda text: "index 0x5")),
        ("index-arabic-digit", "a digit of another script", line(_INDEX, lambda t: "index ٥")),
        ("index-2-to-the-64", "an index that wraps around",
         line(_INDEX, lambda text: f"index {2**64 + 5}")),
        ("index-2-to-the-63", "an index beyond 63 bits", line(_INDEX, lambda t: f"index {2**63}")),
        ("hash-short", "a hash of 31 bytes", line(_HASH, base64(lambda digest: digest[:-1]))),
        ("hash-hexadecimal", "a hash in hexadecimal",
         line(_HASH, lambda text: filler(4).hex()[:64])),
        ("hashes-65", "more hashes than a tree has levels",
         _hashes(lambda hashes: hashes[:1] * 65)),
        ("checkpoint-missing", "no checkpoint", lambda text: text.split("\n\n")[0] + "\n\n"),
        ("empty-line-missing", "no line between hashes and checkpoint", line(6, lambda text: None)),
        ("carriage-returns", "lines end in CR LF", lambda text: text.replace("\n", "\r\n")),
        ("carriage-return-in-note", "one line of the checkpoint ends in CR LF",
         line(_SIZE, lambda text: text + "\r")),
        ("no-final-newline", "the last line end is missing", lambda text: text[:-1]),
        ("text-after", "a text after the signature", lambda text: text + "approved\n"),
        ("proof-empty", "no text at all", lambda text: ""),
    ):  # fmt: skip
        yield _log(f"log-{name}", why, edit)


def _arithmetic() -> Iterator[Case]:
    for name, why, edit in (
        ("index-one-more", "the index of the next entry", line(_INDEX, lambda text: "index 6")),
        ("index-one-less", "the index of the entry before", line(_INDEX, lambda text: "index 4")),
        ("index-is-size", "the index of an entry that is not there",
         line(_INDEX, lambda t: "index 13")),
        ("index-beyond-size", "an index far beyond the log", line(_INDEX, lambda t: "index 1000")),
        ("hash-missing", "the sibling is missing", line(_HASH, lambda text: None)),
        ("hashes-missing", "no hash at all",
         _hashes(lambda hashes: [])),
        ("hash-duplicated", "a hash twice", repeat(_HASH)),
        ("hash-added", "a hash beyond the root", insert(6, encode_base64(fixed("hash")))),
        ("hashes-exchanged", "two hashes in each other's place", exchange(_HASH, _HASH + 1)),
        ("hashes-reversed", "from the root downwards",
         _hashes(lambda hashes: hashes[::-1])),
        ("hash-bit-flipped", "one bit of a hash", line(_HASH + 1, base64(flip(77)))),
        ("hash-truncated-and-padded", "the last byte of a hash is zero",
         line(_HASH, base64(lambda digest: digest[:-1] + b"\0"))),
    ):  # fmt: skip
        yield _log(f"log-{name}", why, edit)
    last = LOGGED.but(name="last", index=12)
    yield _log(
        "log-last-hash-on-the-wrong-side",
        "the lonely last entry, as if it had a sibling",
        insert(_HASH, encode_base64(fixed("sibling"))),
        last,
    )
    for name, why, record, root in (
        (
            "leaf-hash-without-prefix",
            "a tree whose leaves have no prefix",
            LOGGED,
            _tree(LOGGED, b"", b"\1"),
        ),
        (
            "node-hash-without-prefix",
            "a tree whose nodes have no prefix",
            LOGGED,
            _tree(LOGGED, b"\0", b""),
        ),
        (
            "bitcoin-tree",
            "a tree that repeats its last entry",
            last,
            _tree(last, b"\0", b"\1", repeat=True),
        ),
    ):
        yield _log(f"log-{name}", why, _proven_by(record, *root), record)
    for size in (1, 2):
        yield _log(f"log-proof-for-size-{size}", f"the proof of a log of {size}", _sized(size))


def _notes() -> Iterator[Case]:
    def resigned(text: str, name: str = LOGGED.origin, key: SigningKey = LOG) -> str:
        """A signature by the log over any text."""
        signature = key_id(name, key.public) + key.sign(text.encode())
        return f"{text}\n\N{EM DASH} {name} {encode_base64(signature)}\n"

    def note(change: Callable[[str], str]) -> Edit:
        """The checkpoint's text changed and signed by the log."""
        return lambda t: "\n".join(t.split("\n")[:7]) + "\n" + resigned(change(LOGGED_TEXT))

    def signature(change: Edit) -> Edit:
        return line(_SIGNATURE, last_word(change))

    LOGGED_TEXT = "\n".join(LOGGED.proof.split("\n")[7:10]) + "\n"
    stranger = resigned(LOGGED_TEXT, LOGGED.origin, STRANGER).split("\n")[-2]
    for name, why, edit in (
        ("note-second-signature", "a signature line nobody checks",
         lambda t: t + f"\N{EM DASH} witness.example/w1 {encode_base64(bytes(76))}\n"),
        ("note-signed-twice", "the log's signature twice", repeat(_SIGNATURE)),
        ("note-stranger-signs-too", "a stranger signs under the log's name",
         lambda t: t + stranger + "\n"),
        ("note-signed-by-stranger", "a stranger signs under the log's name instead",
         line(_SIGNATURE, lambda t: stranger)),
        ("note-signed-by-the-signer", "the record's signer signs the checkpoint",
         line(_SIGNATURE, lambda t: resigned(LOGGED_TEXT, LOGGED.origin, SIGNER).split("\n")[-2])),
        ("note-without-signature", "a checkpoint nobody signed", line(_SIGNATURE, lambda t: None)),
        ("note-signature-bit-flipped", "one bit of the log's signature",
         signature(base64(flip(300)))),
        ("note-signature-short", "the log's signature is cut short",
         signature(base64(lambda s: s[:-1]))),
        ("note-key-id-wrong", "a signature that names another key", signature(base64(flip(0)))),
        ("note-name-wrong", "a signature under another name",
         line(_SIGNATURE, lambda t: t.replace("torchnotary.log/", "torchnotary.log/0"))),
        ("note-hyphen", "a hyphen in the place of the dash",
         line(_SIGNATURE, lambda t: t.replace("\N{EM DASH}", "-"))),
        ("note-size-changed", "another size under the same signature", line(_SIZE, lambda t: "14")),
        ("note-root-changed", "another root under the same signature",
         line(_ROOT, base64(flip(9)))),
        ("note-origin-changed", "another origin under the same signature",
         line(_ORIGIN, lambda t: OTHER.but(log=OTHER_LOG).origin)),
        ("note-extension-line", "a signed line beyond the three",
         note(lambda t: t + "extension\n")),
        ("note-signed-empty-line", "a signed empty line", note(lambda t: t + "\n")),
        ("note-size-leading-zero", "a second spelling of the size, signed",
         note(lambda t: t.replace("\n13\n", "\n013\n"))),
        ("note-size-negative", "a negative size, signed",
         note(lambda t: t.replace("\n13\n", "\n-13\n"))),
        ("note-size-zero", "an entry of the empty log, signed",
         note(lambda t: t.replace("\n13\n", "\n0\n"))),
        ("note-size-is-index", "a log that ends before the entry, signed",
         note(lambda t: t.replace("\n13\n", "\n5\n"))),
        ("note-root-short", "a root of 31 bytes, signed",
         note(line(2, base64(lambda root: root[:-1])))),
        ("note-origin-another", "another log's origin, signed by this one",
         note(line(0, lambda t: OTHER.but(log=OTHER_LOG).origin))),
        ("note-origin-upper-case", "a second spelling of the origin, signed",
         note(line(0, str.upper))),
        ("note-origin-space", "a space after the origin, signed", note(line(0, lambda t: t + " "))),
        ("note-control-character", "a control character, signed",
         note(line(0, lambda t: t + "\x1b[0m"))),
        ("note-signatures-65", "more signatures than a note may have",
         lambda t: t + f"\N{EM DASH} a {encode_base64(bytes(5))}\n" * 64),
    ):  # fmt: skip
        yield _log(f"log-{name}", why, edit)


def _histories() -> Iterator[Case]:
    """Proofs and checkpoints that are genuine, of something else."""

    def entered(others: dict[int, bytes], **fields) -> str:
        """The checkpoint of a log in which other entries stand."""
        return LOGGED.but(others=others, **fields).checkpoint()

    def under(checkpoint: str) -> Edit:
        return lambda text: text.split("\n\n")[0] + "\n\n" + checkpoint

    yield _log(
        "cross-record",
        "the proof of another record of the log",
        lambda t: LOGGED.but(index=7, others={5: LOGGED.leaf, 7: OTHER.leaf}).proof,
    )
    yield _log(
        "cross-record-same-index",
        "the proof of another record at the same index",
        lambda t: OTHER.but(index=5).proof,
    )
    yield bad(
        "cross-log-proof",
        "log inclusion",
        "the proof of another record in another log, whose key travels along",
        LOGGED.but(
            bundle=lambda b: b.update(
                tlogProof=ELSEWHERE.proof, logPublicKey=ELSEWHERE.bundle["logPublicKey"]
            )
        ),
    )
    yield _log(
        "omitted",
        "another entry stands in the log where this one should",
        under(entered({5: filler(5)})),
    )
    yield _log(
        "omitted-from-the-middle",
        "the entry is missing, the ones after it have moved up",
        under(entered({n: filler(n + 1) for n in range(5, 13)})),
    )
    yield _log(
        "reordered",
        "the entry and its neighbour in each other's place",
        under(entered({4: LOGGED.leaf, 5: filler(4)})),
    )
    yield _log(
        "reordered-neighbours",
        "two other entries in each other's place",
        under(entered({1: filler(2), 2: filler(1)})),
    )
    yield _log(
        "duplicated",
        "the entry stands there twice; the proof is of a log in which it does once",
        under(entered({6: LOGGED.leaf})),
    )
    yield _log(
        "duplicated-with-the-other-index",
        "the entry stands there twice; hashes of one, index of the other",
        line(_INDEX, lambda t: "index 9"),
        LOGGED.but(others={9: LOGGED.leaf}),
    )
    yield _log(
        "truncated-tail",
        "a checkpoint of the log before the entry was made",
        under(entered({}, size=5)),
    )
    yield _log(
        "truncated-tail-by-one",
        "a checkpoint of the log without its last entry",
        under(entered({}, size=12)),
    )
    yield _log(
        "log-grown", "a checkpoint of the log with one more entry", under(entered({}, size=14))
    )
    yield _log(
        "back-dated",
        "a record made later, put in the place of an earlier entry",
        under(LOGGED.but(others={5: OTHER.leaf}).checkpoint()),
    )
    yield _log(
        "log-root-of-another-tree",
        "a root of any other tree, signed by the log",
        under(Checkpoint(LOGGED.origin, 13, fixed("root")).sign(LOG)),
    )
    yield _log(
        "log-root-of-the-empty-tree",
        "the root of the empty log",
        under(Checkpoint(LOGGED.origin, 13, hashlib.sha256().digest()).sign(LOG)),
    )
    yield _log(
        "log-node-as-leaf",
        "the proof of an inner node: one hash too few, and half the index",
        lambda t: TlogProof(2, TlogProof.from_text(t).hashes[1:], LOGGED.checkpoint()).to_text(),
    )
    unsigned = re.sub(rb'"signature":"[0-9a-f]{64}"', b'"signature":"%064d"' % 0, LOGGED.leaf)
    yield _log(
        "log-entry-of-another-signature",
        "the entry has the hash of another signature",
        under(entered({5: unsigned})),
    )


def _tree(
    record: Draft, leaf: bytes, node: bytes, *, repeat: bool = False
) -> tuple[tuple[bytes, ...], bytes]:
    """Proof and root over a log's entries in a tree of other prefixes, level by level; ``repeat``
    hashes a lonely node with itself."""
    level = [hashlib.sha256(leaf + entry).digest() for entry in record.entries()]
    index, proof = record.index, []
    while len(level) > 1:
        if len(level) % 2 and repeat:
            level.append(level[-1])
        if index ^ 1 < len(level):
            proof.append(level[index ^ 1])
        pairs = [level[n : n + 2] for n in range(0, len(level), 2)]
        level = [hashlib.sha256(node + b"".join(p)).digest() if len(p) > 1 else p[0] for p in pairs]
        index //= 2
    return tuple(proof), level[0]


def _proven_by(record: Draft, hashes: tuple[bytes, ...], root: bytes) -> Edit:
    checkpoint = Checkpoint(record.origin, record.size, root).sign(LOG)
    return lambda text: TlogProof(record.index, hashes, checkpoint).to_text()


def _sized(size: int) -> Edit:
    """LOGGED's hashes under the checkpoint of a log in which it is the first entry."""
    alone = LOGGED.but(index=0, size=size)
    return lambda t: TlogProof(0, TlogProof.from_text(t).hashes, alone.checkpoint()).to_text()
