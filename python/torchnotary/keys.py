"""Ed25519 keys: the user's signing key, other people's public keys, and which of them to trust.

The signing key is ``TORCHNOTARY_KEY`` (PEM, path or text) or a file in the configuration
folder that is made at its first use. A key is named by its fingerprint, the SHA-256 of its
SPKI DER. Verification is stricter than OpenSSL: keys and signatures that other Ed25519
implementations would judge differently are refused.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from functools import cached_property
from pathlib import Path

from . import folders
from .errors import MalformedRecord, NotaryError, VerificationFailed
from .files import read_regular

SIGNATURE_BYTES = 64
MAX_PEM_BYTES = 64 * 2**10
_SPKI_PREFIX = bytes.fromhex("302a300506032b6570032100")
_SET_HOME_OR_KEY = (
    "set TORCHNOTARY_HOME to a folder that can be written, or TORCHNOTARY_KEY to a key"
)

# RFC 8032 §5.1: the field prime and the order of the base point.
_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
# y of the eight points of small order (x enters by the sign bit alone).
_SMALL_ORDER_Y = frozenset(
    {
        0,
        1,
        _P - 1,
        2707385501144840649318225287225658788936804267575313519463743609750303402022,
        55188659117513257062467267217118295137698188065244968500265048394206261417927,
    }
)


class PublicKey:
    """An Ed25519 public key, named by its fingerprint (hex SHA-256 of its SPKI DER)."""

    def __init__(self, raw: bytes) -> None:
        if len(raw) != 32:
            raise MalformedRecord(
                "an Ed25519 public key has 32 bytes", expected=32, actual=len(raw)
            )
        y = _y(raw)
        if y >= _P:
            raise MalformedRecord("an Ed25519 public key that is not in its one encoding")
        if y in _SMALL_ORDER_Y:
            raise MalformedRecord(
                "an Ed25519 public key of small order, under which one signature fits many messages"
            )
        self.raw = bytes(raw)
        self.spki = _SPKI_PREFIX + self.raw
        self.fingerprint = hashlib.sha256(self.spki).hexdigest()

    @property
    def short(self) -> str:
        """The first 16 hex digits of the fingerprint, in groups people can compare."""
        return short(self.fingerprint)

    @classmethod
    def from_spki(cls, der: bytes) -> PublicKey:
        """The key of a SubjectPublicKeyInfo (RFC 8410), in its one DER encoding."""
        if len(der) != 44 or der[:12] != _SPKI_PREFIX:
            raise MalformedRecord("not the SPKI DER of an Ed25519 public key")
        return cls(der[12:])

    @classmethod
    def from_pem(cls, pem: bytes) -> PublicKey:
        """The key of a PEM ``PUBLIC KEY``; NotaryError where it is none, or a private one."""
        from cryptography.hazmat.primitives import serialization

        if b"PRIVATE KEY" in pem:
            raise NotaryError(
                "this is a private key, which nobody but its owner should hold",
                next_step="ask for the PEM of its public key",
            )
        try:
            key = serialization.load_pem_public_key(pem)
            return cls.from_spki(
                key.public_bytes(
                    serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
                )
            )
        except NotaryError:
            raise
        except Exception as error:
            raise NotaryError(f"not the PEM of a public key: {error}") from None

    @classmethod
    def parse(cls, given: PublicKey | bytes | str | os.PathLike[str]) -> PublicKey:
        """The key somebody named: a key, PEM or SPKI bytes, PEM text, the path of a PEM file,
        or the fingerprint of an own or trusted key.

        Text that reads as a fingerprint is one, never a file of that name: such a file is named
        with its folder (``./``) or as a Path. The first digits alone name nobody: another key
        can be made that begins with them.
        """
        if isinstance(given, PublicKey):
            return given
        if isinstance(given, bytes):
            return cls.from_spki(given) if given[:1] == b"\x30" else cls.from_pem(given)
        if isinstance(given, str) and "-----BEGIN" in given:
            return cls.from_pem(given.encode())
        fingerprint = as_fingerprint(given)
        if fingerprint is None:
            return cls.from_pem(_read_pem(folders.expand(given)))
        for key in (*own_keys(), *trusted_keys()):
            if key.fingerprint == fingerprint:
                return key
        raise NotaryError(
            "no own or trusted key has this fingerprint",
            actual=fingerprint,
            next_step="name the key's PEM file, or trust it: torchnotary keys trust FILE",
        )

    def to_pem(self) -> bytes:
        from base64 import b64encode

        body = b64encode(self.spki)
        return b"-----BEGIN PUBLIC KEY-----\n" + body + b"\n-----END PUBLIC KEY-----\n"

    def verify(self, signature: bytes, message: bytes) -> None:
        """Returns if ``signature`` over ``message`` is this key's; VerificationFailed if not."""
        from cryptography.exceptions import InvalidSignature

        if len(signature) != SIGNATURE_BYTES:
            raise VerificationFailed(
                "the signature has the wrong length",
                expected=SIGNATURE_BYTES,
                actual=len(signature),
            )
        if int.from_bytes(signature[32:], "little") >= _L:
            raise VerificationFailed("the signature's S is not below the group order")
        y = _y(signature[:32])
        if y >= _P or y in _SMALL_ORDER_Y:
            raise VerificationFailed("the signature's R is of small order or in a second encoding")
        try:
            self._verifier.verify(signature, message)
        except InvalidSignature:
            raise VerificationFailed(
                "the signature is not this key's over these bytes", expected=self.short
            ) from None

    @cached_property
    def _verifier(self):
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        return Ed25519PublicKey.from_public_bytes(self.raw)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and other.raw == self.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"PublicKey({self.short})"


class SigningKey:
    """An Ed25519 private key; nothing prints it, and copying or pickling it is refused."""

    def __init__(self, private) -> None:
        self._private = private
        self.public = PublicKey(private.public_key().public_bytes_raw())

    @classmethod
    def generate(cls) -> SigningKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_pem(cls, pem: bytes) -> SigningKey:
        """The key of an unencrypted PKCS #8 PEM; NotaryError where it is none."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        # The causes are named by hand: a parser's message could quote the key.
        try:
            private = serialization.load_pem_private_key(pem, password=None)
        except TypeError:
            raise NotaryError("the signing key is encrypted", next_step=_UNENCRYPTED) from None
        except Exception:
            raise NotaryError(
                "the signing key is not the PEM of a private key", next_step=_UNENCRYPTED
            ) from None
        if not isinstance(private, Ed25519PrivateKey):
            raise NotaryError(
                "the signing key is not an Ed25519 key",
                actual=type(private).__name__,
                next_step=_UNENCRYPTED,
            )
        return cls(private)

    def to_pem(self) -> bytes:
        """The unencrypted PKCS #8 PEM: the secret itself."""
        from cryptography.hazmat.primitives import serialization

        return self._private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    @classmethod
    def load(cls) -> SigningKey | None:
        """The user's key if there is one: ``TORCHNOTARY_KEY``, else the configuration's."""
        named = os.environ.get("TORCHNOTARY_KEY")
        if named:
            return cls.from_pem(_named_pem(named))
        path = key_path()
        try:
            pem = _read_pem(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise NotaryError(
                f"the signing key {path} cannot be read: {error.strerror}",
                next_step=_SET_HOME_OR_KEY,
            ) from None
        mode = path.stat().st_mode & 0o777
        if mode & 0o077:
            raise NotaryError(
                f"the signing key {path} can be read or written by other users",
                expected="mode 600",
                actual=f"mode {mode:o}",
                next_step=f"chmod 600 {path}",
            )
        return cls.from_pem(pem)

    @classmethod
    def load_or_create(cls) -> SigningKey:
        """The user's key, made now if there is none; processes that race end with one key."""
        found = cls.load()
        if found is None:
            create_private_file(key_path(), cls.generate().to_pem())
            found = cls.load()
        if found is None:
            raise NotaryError(f"the signing key {key_path()} vanished", next_step=_SET_HOME_OR_KEY)
        return found

    @classmethod
    def check(cls) -> None:
        """Raises NotaryError where ``load_or_create`` would fail; creates nothing."""
        if cls.load() is None:
            folders.check_can_create(key_path(), "a signing key", _SET_HOME_OR_KEY)

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature over ``message``; the same bytes every time (RFC 8032)."""
        return self._private.sign(message)

    def __repr__(self) -> str:
        return f"SigningKey({self.public.short})"

    def __reduce_ex__(self, protocol):
        raise NotaryError("a signing key is neither copied nor pickled", next_step="load it again")


_UNENCRYPTED = "make one: openssl genpkey -algorithm ed25519"


def short(fingerprint: str) -> str:
    """The first 16 hex digits of a fingerprint in groups of four."""
    return " ".join(fingerprint[i : i + 4] for i in range(0, 16, 4))


def fingerprint_of(given: PublicKey | bytes | str | os.PathLike[str]) -> str:
    """The fingerprint of the key somebody named; a whole fingerprint needs no key to be known."""
    return as_fingerprint(given) or PublicKey.parse(given).fingerprint


def as_fingerprint(given: object) -> str | None:
    """The fingerprint that text is, with or without spaces and colons; None for anything else.

    The first 16 digits, as they are shown, are refused with NotaryError.
    """
    if not isinstance(given, str):
        return None
    digits = given.replace(" ", "").replace(":", "").lower()
    if re.fullmatch(r"[0-9a-f]{16}", digits):
        raise NotaryError(
            "the first digits of a fingerprint do not name a key",
            expected="64 hex digits",
            actual=digits,
            next_step="give the whole fingerprint: torchnotary keys list",
        )
    return digits if re.fullmatch(r"[0-9a-f]{64}", digits) else None


def key_path() -> Path:
    return folders.config_home() / "keys" / "signing.pem"


def own_keys() -> list[PublicKey]:
    """The public halves of the keys this user signs with (one from the environment first)."""
    found = []
    named = os.environ.get("TORCHNOTARY_KEY")
    if named:
        found.append(SigningKey.from_pem(_named_pem(named)).public)
    if key_path().is_file():
        found.append(SigningKey.from_pem(_read_pem(key_path())).public)
    return found


def trust(key: PublicKey) -> Path:
    """Trusts ``key`` from now on; returns the file that says so."""
    path = _trusted_path(key.fingerprint)
    if not path.exists():
        create_private_file(path, key.to_pem())
    return path


def untrust(fingerprint: str) -> bool:
    """Stops trusting a key; whether it was trusted."""
    try:
        _trusted_path(fingerprint).unlink()
    except FileNotFoundError:
        return False
    return True


def trusted_keys() -> list[PublicKey]:
    """Every trusted key by fingerprint; NotaryError names a file that is not what its name says."""
    found = []
    for path in sorted((folders.config_home() / "trusted").glob("*.pem")):
        key = PublicKey.from_pem(_read_pem(path))
        if key.fingerprint != path.stem:
            raise NotaryError(
                f"the trusted key {path} is not the key its name says",
                expected=path.stem,
                actual=key.fingerprint,
                next_step="remove the file and trust the key again",
            )
        found.append(key)
    return found


def is_trusted(key: PublicKey) -> bool:
    """Whether this user made or trusted ``key``."""
    return key in trusted_keys() or key in own_keys()


def create_private_file(path: Path, data: bytes) -> bool:
    """Creates ``path`` (0600, in a 0700 folder) whole and durable; False if it already exists."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        folders.make_private(path.parent)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            return _link(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise NotaryError(
            f"{path} cannot be made: {error.strerror}", next_step=_SET_HOME_OR_KEY
        ) from None


def _link(temporary: Path, path: Path) -> bool:
    # Linking, unlike renaming, never replaces what another process created first.
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    return True


def _named_pem(named: str) -> bytes:
    if "-----BEGIN" in named:
        # CI systems often keep a multi-line secret on one line with \n written out.
        return named.replace("\\n", "\n").encode()
    path = folders.expand(named)
    try:
        return _read_pem(path)
    except OSError as error:
        raise NotaryError(
            f"TORCHNOTARY_KEY names {path}, which cannot be read: {error.strerror}",
            next_step="set it to the PEM of an Ed25519 key, or to the path of one",
        ) from None


def _trusted_path(fingerprint: str) -> Path:
    if not re.fullmatch(r"[0-9a-f]{64}", fingerprint):
        raise NotaryError("not a fingerprint", expected="64 hex digits", actual=fingerprint)
    return folders.config_home() / "trusted" / f"{fingerprint}.pem"


def _read_pem(path: Path) -> bytes:
    try:
        return read_regular(path, MAX_PEM_BYTES)
    except MalformedRecord:
        raise NotaryError(
            f"{path} is not the PEM of a key: it is too large",
            expected=f"at most {MAX_PEM_BYTES} bytes",
        ) from None


def _y(encoded: bytes) -> int:
    return int.from_bytes(encoded, "little") & (2**255 - 1)
