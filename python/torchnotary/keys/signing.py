"""The signing key: ``TORCHNOTARY_KEY`` (PEM, path or text), or a file in the configuration folder
that is made at its first use. Its PEM may be encrypted; recording never asks for the passphrase,
but takes it from ``TORCHNOTARY_KEY_PASSPHRASE`` or ``TORCHNOTARY_KEY_PASSPHRASE_FILE``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from .. import folders
from ..errors import KeyLocked, MalformedRecord, NotaryError
from ..files import read_regular
from . import ed25519
from .files import SET_HOME_OR_KEY, create_private_file, key_path, read_pem
from .public import ALGORITHMS, PublicKey

MAX_PASSPHRASE_BYTES = 1023  # what OpenSSL takes
_PASSPHRASE = "TORCHNOTARY_KEY_PASSPHRASE"
_MAKE_ONE = "make one: torchnotary keys new, or openssl genpkey -algorithm ed25519"
_GIVE_PASSPHRASE = f"set {_PASSPHRASE}_FILE to a file that holds it, or {_PASSPHRASE} to its text"

Ask = Callable[[], "bytes | None"]


class SigningKey:
    """A private key; nothing prints it, and copying or pickling it is refused.

    ``private`` is a key of ``cryptography``: Ed25519, or elliptic on P-256.
    """

    def __init__(self, private) -> None:
        from cryptography.hazmat.primitives import serialization

        kind = next((kind for kind in ALGORITHMS if kind.owns(private)), None)
        if kind is None:
            raise NotaryError(
                "the signing key is neither an Ed25519 nor a P-256 key",
                actual=type(private).__name__,
                next_step=_MAKE_ONE,
            )
        self._private = private
        self._sign = kind.signer(private)
        self.public = PublicKey.from_spki(
            private.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )

    @classmethod
    def generate(cls, algorithm: str = ed25519.NAME) -> SigningKey:
        """A new key of ``algorithm``, ``Ed25519`` or ``P-256``."""
        for kind in ALGORITHMS:
            if kind.NAME == algorithm:
                return cls(kind.generate())
        raise NotaryError(
            "no keys of this algorithm are made",
            expected=" or ".join(kind.NAME for kind in ALGORITHMS),
            actual=algorithm,
        )

    @classmethod
    def from_pem(cls, pem: bytes, ask: Ask | None = None) -> SigningKey:
        """The key of a private PEM; where that is encrypted, with the passphrase that ``ask``
        returns (default: the environment's).

        Raises KeyLocked where there is no passphrase or a wrong one, another NotaryError where
        the PEM is of no private key, or of another one than a public key that stands beside it.
        """
        key = cls(_private(pem, ask or environment_passphrase))
        if b"BEGIN PUBLIC KEY" in pem and PublicKey.from_block(pem) != key.public:
            raise NotaryError(
                "the public key beside the signing key is another key's",
                expected=key.public.fingerprint,
                actual=PublicKey.from_block(pem).fingerprint,
                next_step="remove the PUBLIC KEY block from the file",
            )
        return key

    def to_pem(self, passphrase: bytes | None = None) -> bytes:
        """The PKCS #8 PEM: the secret itself, or encrypted under ``passphrase`` and with the
        public key beside it, so that the key is known as its owner's while it is locked."""
        from cryptography.hazmat.primitives import serialization

        if passphrase is None:
            encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
        elif len(passphrase) > MAX_PASSPHRASE_BYTES:
            raise KeyLocked(
                "no key is encrypted under so long a passphrase",
                expected=f"at most {MAX_PASSPHRASE_BYTES} bytes",
                actual=f"{len(passphrase)} bytes",
                next_step="give a shorter one",
            )
        else:
            encryption = serialization.BestAvailableEncryption(passphrase)
        pem = self._private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
        )
        return pem if passphrase is None else pem + self.public.to_pem()

    @classmethod
    def load(cls, ask: Ask | None = None) -> SigningKey | None:
        """The user's key if there is one: ``TORCHNOTARY_KEY``, else the configuration's."""
        pem = own_pem()
        return None if pem is None else cls.from_pem(pem, ask)

    @classmethod
    def load_or_create(cls) -> SigningKey:
        """The user's key, made now if there is none; processes that race end with one key."""
        found = cls.load()
        if found is None:
            create_private_file(key_path(), cls.generate().to_pem())
            found = cls.load()
        if found is None:
            raise NotaryError(f"the signing key {key_path()} vanished", next_step=SET_HOME_OR_KEY)
        return found

    @classmethod
    def check(cls) -> None:
        """Raises NotaryError where ``load_or_create`` would fail; creates nothing."""
        if cls.load() is None:
            folders.check_can_create(key_path(), "a signing key", SET_HOME_OR_KEY)

    def sign(self, message: bytes) -> bytes:
        """The signature over ``message``: 64 bytes of Ed25519, or at most 72 of P-256 (DER)."""
        return self._sign(message)

    def __repr__(self) -> str:
        return f"SigningKey({self.public.short})"

    def __reduce_ex__(self, protocol):
        raise NotaryError("a signing key is neither copied nor pickled", next_step="load it again")


def own_pem() -> bytes | None:
    """The PEM of the user's key, None where there is none yet; NotaryError for a file that cannot
    be read or that others can read."""
    named = named_pem()
    if named is not None:
        return named
    path = key_path()
    try:
        pem = read_pem(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise NotaryError(
            f"the signing key {path} cannot be read: {error.strerror}", next_step=SET_HOME_OR_KEY
        ) from None
    check_private(path)
    return pem


def check_private(path: Path) -> None:
    """Raises NotaryError where others than its owner can read or write a signing key's file."""
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise NotaryError(
            f"the signing key {path} can be read or written by other users",
            expected="mode 600",
            actual=f"mode {mode:o}",
            next_step=f"chmod 600 {path}",
        )


def named_pem() -> bytes | None:
    """The PEM that ``TORCHNOTARY_KEY`` is or names; None where it is not set."""
    named = os.environ.get("TORCHNOTARY_KEY")
    if not named:
        return None
    if "-----BEGIN" in named:
        # CI systems often keep a multi-line secret on one line with \n written out.
        return named.replace("\\n", "\n").encode()
    path = folders.expand(named)
    try:
        return read_pem(path)
    except OSError as error:
        raise NotaryError(
            f"TORCHNOTARY_KEY names {path}, which cannot be read: {error.strerror}",
            next_step="set it to the PEM of a private key, or to the path of one",
        ) from None


def is_encrypted(pem: bytes) -> bool:
    """Whether a signing key's PEM needs a passphrase."""
    return b"ENCRYPTED" in pem


def public_of(pem: bytes, ask: Ask | None = None) -> PublicKey:
    """The public half of a signing key's PEM; of an encrypted one it is read from the block beside
    it where there is one, so that no passphrase is needed. Raises as `SigningKey.from_pem`."""
    if is_encrypted(pem):
        if b"BEGIN PUBLIC KEY" in pem:
            return PublicKey.from_block(pem)
        return SigningKey.from_pem(pem, ask).public
    # Every verification asks for the user's own keys, and parsing a private one takes as long as a
    # signature; what was parsed is known by its digest, so that no secret is kept.
    digest = hashlib.sha256(pem).digest()
    if digest not in _public_halves:
        if len(_public_halves) >= _MOST_HALVES:
            _public_halves.clear()
        _public_halves[digest] = SigningKey.from_pem(pem, ask).public
    return _public_halves[digest]


_MOST_HALVES = 64
_public_halves: dict[bytes, PublicKey] = {}


def environment_passphrase() -> bytes | None:
    """The passphrase that the environment gives, None where it gives none."""
    text, name = os.environ.get(_PASSPHRASE), os.environ.get(f"{_PASSPHRASE}_FILE")
    if text and name:
        raise KeyLocked(
            f"both {_PASSPHRASE} and {_PASSPHRASE}_FILE are set", next_step="unset one of them"
        )
    if text:
        return os.fsencode(text)
    if not name:
        return None
    try:
        data = read_regular(folders.expand(name), MAX_PASSPHRASE_BYTES + len(b"\r\n"))
    except (OSError, MalformedRecord) as error:
        reason = error.strerror if isinstance(error, OSError) else error.reason
        raise KeyLocked(
            f"{_PASSPHRASE}_FILE names {name}, which cannot be read: {reason}",
            next_step=_GIVE_PASSPHRASE,
        ) from None
    return data.removesuffix(b"\n").removesuffix(b"\r") or None


def _private(pem: bytes, ask: Ask):
    from cryptography.hazmat.primitives import serialization

    # The causes are named by hand: a parser's message could quote the key.
    try:
        return serialization.load_pem_private_key(pem, password=None)
    except TypeError:
        passphrase = ask()
    except Exception:
        raise NotaryError(
            "the signing key is not the PEM of a private key", next_step=_MAKE_ONE
        ) from None
    if passphrase is None:
        raise KeyLocked(
            "the signing key is encrypted, and no passphrase is given", next_step=_GIVE_PASSPHRASE
        )
    try:
        return serialization.load_pem_private_key(pem, password=passphrase)
    except Exception:
        raise KeyLocked(
            "the signing key's passphrase is wrong, or its file is damaged",
            next_step=_GIVE_PASSPHRASE,
        ) from None
