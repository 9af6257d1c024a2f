"""P-256 keys beside Ed25519: the vectors of RFC 6979, one encoding of keys and signatures, and
records signed with one."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

import torchnotary
from torchnotary.errors import MalformedRecord, NotaryError, VerificationFailed
from torchnotary.keys import PublicKey, SigningKey, trust
from torchnotary.log.checkpoint import Checkpoint, origin_of
from torchnotary.statement import envelope

# RFC 6979 §A.2.5: the key, and (r, s) over two messages by SHA-256, the first with the higher s.
X = 0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721
UX = 0x60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6
UY = 0x7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299
SAMPLE = (
    0xEFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716,
    0xF7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8,
)
TEST = (
    0xF1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367,
    0x019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083,
)
P = 2**256 - 2**224 + 2**192 + 2**96 - 1
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@pytest.fixture
def key():
    return SigningKey(ec.derive_private_key(X, ec.SECP256R1()))


def _point(x, y):
    return x.to_bytes(32, "big") + y.to_bytes(32, "big")


def _spki(point: bytes) -> bytes:
    """SubjectPublicKeyInfo of a P-256 point in any encoding, by the rules of DER alone."""
    algorithm = bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107")
    bits = b"\x03" + bytes([len(point) + 1]) + b"\0" + point
    return b"\x30" + bytes([len(algorithm) + len(bits)]) + algorithm + bits


def _der(*integers: bytes) -> bytes:
    body = b"".join(b"\x02" + bytes([len(i)]) + i for i in integers)
    return b"\x30" + bytes([len(body)]) + body


def _public_der(key, form=serialization.PublicFormat.SubjectPublicKeyInfo):
    return key.public_bytes(serialization.Encoding.DER, form)


def test_the_vectors_of_rfc_6979_verify_in_the_form_with_the_lower_s(key):
    assert key.public.spki == _spki(b"\x04" + _point(UX, UY))
    r, s = SAMPLE
    key.public.verify(encode_dss_signature(r, N - s), b"sample")
    key.public.verify(encode_dss_signature(*TEST), b"test")
    for wrong, message in [((r, s), b"sample"), ((TEST[0], N - TEST[1]), b"test")]:
        der = encode_dss_signature(*wrong)
        ec.derive_private_key(X, ec.SECP256R1()).public_key().verify(
            der, message, ec.ECDSA(hashes.SHA256())
        )
        with pytest.raises(VerificationFailed, match="higher of the two"):
            key.public.verify(der, message)


def test_a_key_is_named_by_its_spki_in_every_form_it_comes_in(key, tmp_path):
    public = key.public
    assert public.algorithm == "P-256"
    assert public.fingerprint == hashlib.sha256(public.spki).hexdigest()
    path = tmp_path / "theirs.pem"
    path.write_bytes(public.to_pem())
    for form in (public.spki, public.to_pem(), public.to_pem().decode(), path):
        assert PublicKey.parse(form) == public
    again = serialization.load_pem_public_key(public.to_pem())
    assert _public_der(again) == public.spki
    assert SigningKey.from_pem(key.to_pem()).public == public
    assert public != SigningKey.generate().public


def test_other_implementations_verify_our_signatures_and_their_s_is_the_lower_one():
    key = SigningKey.generate("P-256")
    theirs = serialization.load_der_public_key(key.public.spki)
    for number in range(16):
        message = b"%d" % number
        signature = key.sign(message)
        theirs.verify(signature, message, ec.ECDSA(hashes.SHA256()))
        key.public.verify(signature, message)
        assert len(signature) <= envelope.MAX_SIGNATURE_BYTES


def test_public_keys_in_a_second_encoding_or_off_the_curve_are_refused(key):
    point = _point(UX, UY)
    compressed = bytes([2 + UY % 2]) + point[:32]
    hybrid = bytes([6 + UY % 2]) + point
    spki = key.public.spki
    named = bytes.fromhex("06082a8648ce3d030107")
    explicit_null = spki.replace(named, b"\x05\x00" + named[2:])
    for wrong in (
        _spki(compressed),
        _spki(hybrid),
        _spki(b"\0"),
        explicit_null,
        spki[:-1],
        spki + b"\0",
        spki[:1] + b"\x81" + spki[1:],
        _public_der(ec.generate_private_key(ec.SECP256K1()).public_key()),
        _public_der(ec.generate_private_key(ec.SECP384R1()).public_key()),
    ):
        with pytest.raises(MalformedRecord, match="P-256"):
            PublicKey.from_spki(wrong)
    for x, y in [(UX, UY ^ 1), (UX, 0), (0, 0), (UX + 1, UY), (P, UY), (2**256 - 1, UY)]:
        with pytest.raises(MalformedRecord, match="not a point"):
            PublicKey.from_spki(_spki(b"\x04" + _point(x, y)))
    PublicKey.from_spki(_spki(b"\x04" + _point(UX, P - UY)))


def test_coordinates_that_are_not_reduced_are_refused():
    """(x, y) and (x + p, y) would be one point under two fingerprints."""
    # A point whose x + p still fits into 32 bytes: x = 0, where y² is the curve's b.
    b = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
    x, y = 0, pow(b, (P + 1) // 4, P)
    assert y * y % P == b
    PublicKey.from_spki(_spki(b"\x04" + _point(x, y)))
    with pytest.raises(MalformedRecord, match="not a point"):
        PublicKey.from_spki(_spki(b"\x04" + _point(x + P, y)))


def test_a_pem_of_a_compressed_point_is_refused_and_not_rewritten(key):
    theirs = serialization.load_der_public_key(key.public.spki)
    compressed = theirs.public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint
    )
    body = envelope.encode_base64(_spki(compressed))
    pem = f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n".encode()
    assert _public_der(serialization.load_pem_public_key(pem)) == key.public.spki
    with pytest.raises(MalformedRecord, match="whole point"):
        PublicKey.from_pem(pem)


def test_signatures_that_are_not_the_one_der_are_refused(key):
    r, s = (value.to_bytes(33, "big") for value in (TEST[0], TEST[1]))
    assert r[1] & 0x80 and not s[1] & 0x80
    good = _der(r, s[1:])
    assert good == encode_dss_signature(*TEST)
    key.public.verify(good, b"test")
    zero, n = b"\0", b"\0" + N.to_bytes(32, "big")
    for wrong, cause in [
        (b"", "DER"),
        (good[:-1], "DER"),
        (good + b"\0", "DER"),
        (_der(r, s), "DER"),
        (_der(b"\0" + r, s[1:]), "DER"),
        (_der(r[1:], s[1:]), "DER"),
        (_der(r, s[1:], zero), "DER"),
        (_der(r), "DER"),
        (b"\x30\x81" + good[1:], "DER"),
        (b"\x31" + good[1:], "DER"),
        (b"\x30\x80" + good[2:] + b"\0\0", "DER"),
        (r[1:] + s[1:], "DER"),
        (_der(zero, s[1:]), "or is 0"),
        (_der(r, zero), "or is 0"),
        (_der(n, s[1:]), "group order"),
        (_der(r, n), "group order"),
        (_der(r, (TEST[1] ^ 1).to_bytes(32, "big")), "not this key's"),
    ]:
        with pytest.raises(VerificationFailed, match=cause):
            key.public.verify(wrong, b"test")


def test_the_algorithm_follows_from_the_key_alone():
    edwards, nist = SigningKey.generate(), SigningKey.generate("P-256")
    for signer, other in ((edwards, nist), (nist, edwards)):
        with pytest.raises(VerificationFailed):
            other.public.verify(signer.sign(b"m"), b"m")
    with pytest.raises(NotaryError, match="algorithm"):
        SigningKey.generate("RSA")


def test_signing_keys_of_other_kinds_are_refused_by_name():
    for private in (
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(public_exponent=65537, key_size=2048),
    ):
        with pytest.raises(NotaryError, match="neither an Ed25519 nor a P-256"):
            SigningKey(private)


def test_a_log_is_never_signed_with_a_p_256_key():
    key = SigningKey.generate("P-256")
    origin = origin_of(key.public)
    checkpoint = Checkpoint(origin, 1, bytes(32))
    with pytest.raises(MalformedRecord, match="Ed25519 keys alone.*got P-256"):
        checkpoint.sign(key)
    note = checkpoint.sign(SigningKey.generate())
    with pytest.raises(MalformedRecord, match="Ed25519 keys alone"):
        Checkpoint.verify(note, key.public)


def test_a_record_signed_with_p_256_verifies_and_one_flipped_bit_does_not(tmp_path):
    key = SigningKey.generate("P-256")
    notary = torchnotary.Notary(tmp_path / "log", signer=key)
    notary.record(lambda x: x + 1)(1)
    record, path = notary.last, tmp_path / "run.tnr"
    record.save(path)
    notary.close()
    verdict = torchnotary.verify(path)
    assert verdict.exit_code == 3 and "P-256" in verdict["signature"].detail
    trust(key.public)
    assert torchnotary.verify(path).ok
    ((_, signature),) = record.envelope.signatures
    data = path.read_bytes()
    at = data.index(envelope.encode_base64(signature).encode()) + 20
    changed = data[:at] + (b"A" if data[at : at + 1] != b"A" else b"B") + data[at + 1 :]
    assert torchnotary.verify(changed).exit_code == 1
