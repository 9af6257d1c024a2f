"""Rotation: a new signing key in place of the old one, and the statement by which both say so.

The statement is a DSSE envelope with two signatures, the old key's and the new one's, so that it
can be taken for nothing else (its payload type is signed too) and any DSSE library checks it:

    payloadType "application/vnd.torchnotary.rotation+json"
    payload     {"new":base64 SPKI,"old":base64 SPKI,"type":"rotation/1"}

The old key vouches for the new one; the new one's signature shows that its owner holds it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .. import folders
from ..errors import MalformedRecord, NotaryError, UnknownSigner, VerificationFailed
from ..statement.container import write_atomically
from ..statement.envelope import MAX_SIGNATURE_BYTES, decode_base64, encode_base64, pae
from ..statement.lines import brief, canonical, parse_object, require_object
from .files import (
    SET_HOME_OR_KEY,
    create_private_file,
    key_path,
    replace_private_file,
    retired_folder,
)
from .keyring import is_revoked, is_trusted, trust
from .public import PublicKey
from .signing import Ask, SigningKey, named_pem, own_pem

PAYLOAD_TYPE = "application/vnd.torchnotary.rotation+json"
MAX_BYTES = 4096
_TYPE = "rotation/1"


@dataclass(frozen=True)
class Rotation:
    """That the owner of ``old`` signs with ``new`` from now on; both have signed it."""

    old: PublicKey
    new: PublicKey
    signatures: tuple[bytes, bytes]

    @classmethod
    def sign(cls, old: SigningKey, new: SigningKey) -> Rotation:
        message = pae(PAYLOAD_TYPE, _payload(old.public, new.public))
        return cls(old.public, new.public, (old.sign(message), new.sign(message)))

    def verify(self) -> None:
        """Raises VerificationFailed unless both keys signed it."""
        message = pae(PAYLOAD_TYPE, _payload(self.old, self.new))
        for key, signature in zip((self.old, self.new), self.signatures, strict=True):
            key.verify(signature, message)

    def encode(self) -> bytes:
        """The envelope as one canonical line, with the newline that ends its file."""
        signatures = [
            {"keyid": key.fingerprint, "sig": encode_base64(signature)}
            for key, signature in zip((self.old, self.new), self.signatures, strict=True)
        ]
        envelope = {
            "payload": encode_base64(_payload(self.old, self.new)),
            "payloadType": PAYLOAD_TYPE,
            "signatures": signatures,
        }
        return canonical(envelope) + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> Rotation:
        """The rotation of a file's bytes, not verified yet; MalformedRecord for anything but its
        one form."""
        if len(data) > MAX_BYTES or not data.endswith(b"\n"):
            raise MalformedRecord("not a rotation: too large, or no line", actual=len(data))
        members = ("payload", "payloadType", "signatures")
        value = parse_object(data[:-1], "the rotation", members)
        if value["payloadType"] != PAYLOAD_TYPE:
            raise MalformedRecord(
                "not the payloadType of a rotation",
                expected=PAYLOAD_TYPE,
                actual=brief(value["payloadType"]),
            )
        payload = decode_base64(value["payload"], "the rotation's payload", MAX_BYTES)
        said = parse_object(payload, "the rotation's payload", ("new", "old", "type"))
        if said["type"] != _TYPE:
            raise MalformedRecord(
                "a rotation of an unknown version", expected=_TYPE, actual=brief(said["type"])
            )
        old, new = (
            PublicKey.from_spki(decode_base64(said[name], f"the {name} key", MAX_BYTES))
            for name in ("old", "new")
        )
        if old == new:
            raise MalformedRecord("a rotation from a key to itself", actual=old.fingerprint)
        first, second = _two(value["signatures"])
        return cls(old, new, (_signature(first, old), _signature(second, new)))


def accept(rotation: Rotation) -> None:
    """Trusts the new key because one that this user trusts vouches for it.

    Raises VerificationFailed where one of the signatures is wrong or the old key was revoked,
    UnknownSigner where the old key is not trusted.
    """
    rotation.verify()
    for key, step in ((rotation.old, "get their new key another way"), (rotation.new, None)):
        if is_revoked(key.fingerprint):
            raise VerificationFailed(
                "the rotation is of a key that you revoked", actual=key.fingerprint, next_step=step
            )
    if not is_trusted(rotation.old):
        raise UnknownSigner(
            "the rotation is signed by a key that you do not trust",
            expected="a key you trust",
            actual=rotation.old.fingerprint,
            next_step="get their new key another way: torchnotary keys trust FILE",
        )
    trust(rotation.new)


def rotate(
    output: Path,
    algorithm: str | None = None,
    passphrase: bytes | None = None,
    ask: Ask | None = None,
) -> Rotation:
    """Makes a new signing key (of the old one's algorithm, if none is named; encrypted under
    ``passphrase``, if there is one), writes the rotation to ``output`` and retires the old key,
    which goes on counting as own. ``ask`` is asked for the old key's passphrase.

    The new key is signed with once its file has taken the old one's place, by one rename after all
    else is durable; whenever this ends before, the old key is the signing key, and rotating again
    begins anew. Raises NotaryError where there is no key yet or it comes from the environment.
    """
    if named_pem() is not None:
        raise NotaryError(
            "the signing key comes from TORCHNOTARY_KEY, which only its owner can replace",
            next_step="unset TORCHNOTARY_KEY, or make the new key where the old one comes from",
        )
    with _alone():
        pem = own_pem()
        if pem is None:
            raise NotaryError(
                "there is no signing key to replace", next_step="torchnotary keys new"
            )
        old = SigningKey.from_pem(pem, ask)
        new = SigningKey.generate(algorithm or old.public.algorithm)
        rotation = Rotation.sign(old, new)
        write_atomically(output, rotation.encode())
        create_private_file(retired_folder() / f"{old.public.fingerprint}.pem", pem)
        replace_private_file(key_path(), new.to_pem(passphrase))
    return rotation


@contextmanager
def _alone() -> Iterator[None]:
    """Holds off every other rotation of this user's key."""
    folder = key_path().parent
    try:
        descriptor = os.open(folders.make_private(folder), os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise NotaryError(
            f"{folder} cannot be opened: {error.strerror}", next_step=SET_HOME_OR_KEY
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _payload(old: PublicKey, new: PublicKey) -> bytes:
    return canonical(
        {"new": encode_base64(new.spki), "old": encode_base64(old.spki), "type": _TYPE}
    )


def _two(signatures: object) -> tuple[object, object]:
    if type(signatures) is not list or len(signatures) != 2:
        raise MalformedRecord(
            "a rotation has the old key's signature and the new key's",
            expected=2,
            actual=len(signatures) if type(signatures) is list else brief(signatures),
        )
    return signatures[0], signatures[1]


def _signature(value: object, key: PublicKey) -> bytes:
    found = require_object(value, "a signature of the rotation", ("keyid", "sig"))
    if found["keyid"] != key.fingerprint:
        raise MalformedRecord(
            "the rotation's signatures are not the old key's and the new key's, in this order",
            expected=key.fingerprint,
            actual=brief(found["keyid"]),
        )
    return decode_base64(found["sig"], "a signature of the rotation", MAX_SIGNATURE_BYTES)
