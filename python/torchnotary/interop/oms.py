"""OpenSSF Model Signing (OMS): a model's files under one signature, as model-signing writes it.

A Sigstore bundle (JSON, v0.3) holds a DSSE envelope with an in-toto statement of predicate type
``https://model_signing/signature/v1.0``: the SHA-256 of every file, and the hash of these hashes as
the subject. Elliptic-curve keys (P-256, P-384, P-521) sign it; certificates and Sigstore's keyless
signatures are for model-signing itself to check.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import MalformedRecord, NotaryError, VerificationFailed
from ..files import read_regular
from ..statement.container import write_atomically
from ..statement.envelope import PAYLOAD_TYPE, encode_base64, pae
from ..statement.lines import brief, canonical
from .ec_keys import EcPrivateKey, EcPublicKey
from .foreign import decode_either_base64, member, parse_json, require_known, the_one
from .model_files import files_of, has_links

BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
# What model-signing ignores unless it is told otherwise.
GIT_PATHS = (".git", ".gitattributes", ".github", ".gitignore")
MAX_BUNDLE_BYTES = 64 * 2**20
_MAX_SIGNATURE_BYTES = 256
_MAX_NAMED = 5
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class SignedFiles:
    """What a signature says: the model's name, the SHA-256 (hex) of its files by name, names that
    were left out, and whether links to files were followed."""

    model: str
    files: Mapping[str, str]
    ignored: tuple[str, ...]
    links: bool

    @property
    def root(self) -> str:
        """The subject: SHA-256 (hex) of the files' digests, one after the other."""
        return hashlib.sha256(b"".join(map(bytes.fromhex, self.files.values()))).hexdigest()


def sign(
    model: str | os.PathLike[str], signature: str | os.PathLike[str], key: EcPrivateKey
) -> SignedFiles:
    """Signs the files of ``model`` (a folder or a file) and writes the bundle to ``signature``,
    which may lie in the folder. Raises what `files_of` raises, NotaryError for an empty folder and
    for a ``signature`` that is there and is none."""
    model, signature = Path(model), Path(signature)
    _require_replaceable(signature)
    ignored = _ignored(model, signature, GIT_PATHS)
    links = has_links(model, ignored)
    signed = SignedFiles(model.resolve().name, files_of(model, ignored, links), ignored, links)
    if not signed.files:
        raise NotaryError(f"{model} has no files to sign", next_step="give the model's folder")
    write_atomically(signature, _bundle(canonical(_statement(signed)), key))
    return signed


def check(
    model: str | os.PathLike[str], signature: str | os.PathLike[str], key: EcPublicKey
) -> SignedFiles:
    """What ``key`` signed in the file ``signature``, once the files of ``model`` are known to be
    those and no others.

    Raises MalformedRecord for a bundle that is none, VerificationFailed where another key signed
    or files differ, OSError for what cannot be read.
    """
    model, signature = Path(model), Path(signature)
    signed = read(read_regular(signature, MAX_BUNDLE_BYTES), key)
    found = files_of(model, _ignored(model, signature, signed.ignored), signed.links)
    if found != signed.files:
        raise VerificationFailed(
            f"{model} is not what was signed: {_differences(signed.files, found)}",
            next_step="get the model again from its publisher, or a signature for this one",
        )
    return signed


def read(bundle: bytes, key: EcPublicKey) -> SignedFiles:
    """What ``key`` signed in ``bundle``; errors as `check`, but no model is looked at."""
    payload, signature, hint = _envelope(bundle)
    if hint is not None and hint != key.hint:
        raise VerificationFailed(
            "the bundle names another key than the one it is checked with",
            expected=key.hint,
            actual=brief(hint),
            next_step="check it with the key that signed it",
        )
    key.verify(signature, pae(PAYLOAD_TYPE, payload))
    return _signed_files(parse_json(payload, "the signed statement"))


def _require_replaceable(signature: Path) -> None:
    """A signature may take the place of an earlier one, and of no other file."""
    if not signature.exists():
        return
    try:
        bundle = parse_json(read_regular(signature, MAX_BUNDLE_BYTES), "the file")
        _require(member(bundle, "mediaType", str, "the file"), BUNDLE_TYPE, "its mediaType")
    except MalformedRecord as error:
        raise NotaryError(
            f"{signature} is there already, and is no signature: {error.reason}",
            next_step="name a file that is not there yet",
        ) from None


def _ignored(model: Path, signature: Path, named: tuple[str, ...]) -> tuple[str, ...]:
    """Names left out: those named, and the signature's own where it lies in the folder."""
    own = signature.absolute()
    inside = own.is_relative_to(model.absolute()) and own != model.absolute()
    names = set(named)
    if inside:
        names.add(own.relative_to(model.absolute()).as_posix())
    return tuple(sorted(names))


def _statement(signed: SignedFiles) -> dict[str, Any]:
    return {
        "_type": STATEMENT_TYPE,
        "predicate": {
            "resources": [
                {"algorithm": "sha256", "digest": digest, "name": name}
                for name, digest in signed.files.items()
            ],
            "serialization": {
                "allow_symlinks": signed.links,
                "hash_type": "sha256",
                "ignore_paths": list(signed.ignored),
                "method": "files",
            },
        },
        "predicateType": PREDICATE_TYPE,
        "subject": [{"digest": {"sha256": signed.root}, "name": signed.model}],
    }


def _bundle(payload: bytes, key: EcPrivateKey) -> bytes:
    signature = encode_base64(key.sign(pae(PAYLOAD_TYPE, payload)))
    return canonical(
        {
            "dsseEnvelope": {
                "payload": encode_base64(payload),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"keyid": "", "sig": signature}],
            },
            "mediaType": BUNDLE_TYPE,
            "verificationMaterial": {"publicKey": {"hint": key.public.hint}, "tlogEntries": []},
        }
    )


def _envelope(bundle: bytes) -> tuple[bytes, bytes, str | None]:
    """Payload, signature and key hint of a bundle, none of them believed yet."""
    value, what = parse_json(bundle, "the bundle"), "the bundle"
    _require(member(value, "mediaType", str, what), BUNDLE_TYPE, "the bundle's mediaType")
    require_known(value, ("dsseEnvelope", "mediaType", "verificationMaterial"), what)
    material = member(value, "verificationMaterial", dict, what)
    if "publicKey" not in material:
        raise NotaryError(
            "the bundle was signed with a certificate, which is not checked here",
            expected="publicKey",
            actual=brief(sorted(material)),
            next_step="model_signing verify",
        )
    known = ("publicKey", "timestampVerificationData", "tlogEntries")
    require_known(material, known, "the verificationMaterial")
    hint = member(material, "publicKey", dict, "the verificationMaterial").get("hint")
    envelope = member(value, "dsseEnvelope", dict, what)
    what = "the envelope"
    _require(member(envelope, "payloadType", str, what), PAYLOAD_TYPE, "the payloadType")
    signature = the_one(member(envelope, "signatures", list, what), "signature")
    payload = member(envelope, "payload", str, what)
    return (
        decode_either_base64(payload, "the payload", MAX_BUNDLE_BYTES),
        decode_either_base64(
            member(signature, "sig", str, "the signature"), "the signature", _MAX_SIGNATURE_BYTES
        ),
        hint,
    )


def _signed_files(statement: Any) -> SignedFiles:
    """Strict where a file's name or digest is said; in-toto and OMS let other members be."""
    what = "the signed statement"
    _require(member(statement, "_type", str, what), STATEMENT_TYPE, "the statement's _type")
    _require(member(statement, "predicateType", str, what), PREDICATE_TYPE, "the predicateType")
    subject = the_one(member(statement, "subject", list, what), "subject")
    predicate = member(statement, "predicate", dict, what)
    serialization = member(predicate, "serialization", dict, "the predicate")
    what = "the serialization"
    for name, ours in (("method", "files"), ("hash_type", "sha256")):
        _require(member(serialization, name, str, what), ours, f"the serialization's {name}")
    ignored = serialization.get("ignore_paths", [])
    if type(ignored) is not list or not all(type(name) is str for name in ignored):
        raise MalformedRecord("ignore_paths is not a list of names", actual=brief(ignored))
    signed = SignedFiles(
        member(subject, "name", str, "the subject"),
        _resources(member(predicate, "resources", list, "the predicate")),
        tuple(ignored),
        member(serialization, "allow_symlinks", bool, what),
    )
    root = member(member(subject, "digest", dict, "the subject"), "sha256", str, "its digest")
    _require(root, signed.root, "the subject's digest over those of the files")
    return signed


def _resources(values: list[Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for value in values:
        name = member(value, "name", str, "a resource")
        digest = member(value, "digest", str, f"the resource {brief(name)}")
        _require(member(value, "algorithm", str, "a resource"), "sha256", "a resource's algorithm")
        parts = PurePosixPath(name)
        if str(parts) != name or parts.is_absolute() or ".." in parts.parts or "\0" in name:
            raise MalformedRecord("a resource's name is no path below a folder", actual=brief(name))
        if name in found:
            raise MalformedRecord("a resource is named twice", actual=brief(name))
        if not _SHA256.fullmatch(digest):
            raise MalformedRecord("a resource's digest is no SHA-256", actual=brief(digest))
        found[name] = digest
    if not found:
        raise MalformedRecord("a signature over no files says nothing")
    return found


def _require(actual: str, expected: str, what: str) -> None:
    if actual != expected:
        raise MalformedRecord(f"{what} is another one", expected=expected, actual=brief(actual))


def _differences(signed: Mapping[str, str], found: Mapping[str, str]) -> str:
    kinds = {
        "changed": [name for name in signed if found.get(name, signed[name]) != signed[name]],
        "missing": [name for name in signed if name not in found],
        "not signed": [name for name in found if name not in signed],
    }
    return "; ".join(
        f"{kind}: {', '.join(map(brief, names[:_MAX_NAMED]))}"
        + (f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else "")
        for kind, names in kinds.items()
        if names
    )
