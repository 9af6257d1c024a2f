"""The DSSE envelope: signed bytes, one form, and every confusion it must refuse."""

from __future__ import annotations

import base64
import hashlib
import json
from copy import deepcopy

import pytest

from torchnotary.errors import MalformedRecord, VerificationFailed
from torchnotary.keys import SigningKey
from torchnotary.statement.envelope import (
    PAYLOAD_TYPE,
    Envelope,
    decode_base64,
    encode_base64,
    pae,
    sign,
    verify,
)
from torchnotary.statement.lines import canonical

KEY = SigningKey.generate()
PAYLOAD = canonical({"_type": "statement", "n": 1})


def test_the_pre_authentication_encoding_is_the_one_of_the_dsse_specification():
    signed = pae("http://example.com/HelloWorld", b"hello world")
    assert signed == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_a_signed_payload_is_verified_and_comes_back_through_json():
    envelope = sign(PAYLOAD, KEY)
    again = Envelope.from_json(json.loads(canonical(envelope.to_json())))
    assert again == envelope
    assert verify(again, KEY.public) == PAYLOAD
    assert envelope.record_id == hashlib.sha256(PAYLOAD).hexdigest()
    assert envelope.to_json()["signatures"][0]["keyid"] == KEY.public.fingerprint


def test_another_payload_signature_or_key_is_refused():
    envelope = sign(PAYLOAD, KEY)
    other = SigningKey.generate()
    ((keyid, signature),) = envelope.signatures
    flipped = bytes([signature[0] ^ 1]) + signature[1:]
    for wrong in (
        Envelope(PAYLOAD + b" ", envelope.signatures),
        Envelope(PAYLOAD, ((keyid, flipped),)),
        Envelope(PAYLOAD, ((keyid, signature[:-1]),)),
        Envelope(PAYLOAD, ((keyid, b""),)),
        Envelope(PAYLOAD, ((other.public.fingerprint, signature),)),
    ):
        with pytest.raises(VerificationFailed):
            verify(wrong, KEY.public)
    with pytest.raises(VerificationFailed, match="names another key") as caught:
        verify(envelope, other.public)
    assert caught.value.expected == other.public.fingerprint
    assert caught.value.actual == KEY.public.fingerprint


def test_a_signature_over_another_payload_type_is_refused():
    confused = KEY.sign(pae("application/json", PAYLOAD))
    with pytest.raises(VerificationFailed):
        verify(Envelope(PAYLOAD, ((KEY.public.fingerprint, confused),)), KEY.public)
    bare = KEY.sign(PAYLOAD)
    with pytest.raises(VerificationFailed):
        verify(Envelope(PAYLOAD, ((KEY.public.fingerprint, bare),)), KEY.public)


def _changed(path: list, value) -> dict:
    form = deepcopy(sign(PAYLOAD, KEY).to_json())
    place = form
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return form


GOOD = sign(PAYLOAD, KEY).to_json()


@pytest.mark.parametrize(
    "form, cause",
    [
        (None, "not a JSON object"),
        ([], "not a JSON object"),
        ({}, "other members"),
        ({**GOOD, "more": 1}, "other members"),
        ({k: v for k, v in GOOD.items() if k != "payload"}, "other members"),
        (_changed(["payloadType"], "application/json"), "application/json"),
        (_changed(["payloadType"], None), "payloadType"),
        (_changed(["signatures"], []), "exactly one signature.*got 0"),
        (_changed(["signatures"], GOOD["signatures"] * 2), "exactly one signature.*got 2"),
        (_changed(["signatures"], GOOD["signatures"] * 100_000), "exactly one signature"),
        (_changed(["signatures"], {}), "exactly one signature"),
        (_changed(["signatures", 0], "sig"), "not a JSON object"),
        (_changed(["signatures", 0, "more"], 1), "other members"),
        (_changed(["signatures", 0, "keyid"], ""), "keyid"),
        (_changed(["signatures", 0, "keyid"], "A" * 64), "keyid"),
        (_changed(["signatures", 0, "keyid"], 1), "keyid"),
        (_changed(["signatures", 0, "sig"], None), "not a base64 string"),
        (_changed(["signatures", 0, "sig"], encode_base64(bytes(73))), "too large"),
        (_changed(["signatures", 0, "sig"], "A" * 10**6), "too large"),
        (_changed(["payload"], 5), "not a base64 string"),
        (_changed(["payload"], GOOD["payload"] + "\n"), "base64"),
        (_changed(["payload"], GOOD["payload"].rstrip("=") + "!"), "base64"),
    ],
)
def test_an_envelope_in_another_form_is_refused_by_name(form, cause):
    with pytest.raises(MalformedRecord, match=cause):
        Envelope.from_json(form)


def test_a_wrong_payload_type_is_named_with_both_values():
    with pytest.raises(MalformedRecord) as caught:
        Envelope.from_json(_changed(["payloadType"], "text/plain"))
    assert (caught.value.expected, caught.value.actual) == (PAYLOAD_TYPE, "text/plain")


def test_base64_has_one_spelling():
    data = bytes(range(256))[:254] + b"\xfb\xff"
    text = base64.b64encode(data).decode()
    assert decode_base64(text, "it", 256) == data and encode_base64(data) == text
    assert decode_base64("", "it", 0) == b""
    for wrong, cause in [
        (base64.urlsafe_b64encode(data).decode(), "standard"),
        (base64.b64encode(b"a").decode().rstrip("="), "padded"),
        ("YR==", "bits after its last byte"),
        ("YWF=", "bits after its last byte"),
        ("YQ=", "padded"),
        ("YQ===", "base64"),
        ("Y Q==", "standard"),
        ("YQ==\n", "standard"),
        ("YQ==YQ==", "base64"),
        ("é", "base64"),
        (b"YQ==", "not a base64 string"),
    ]:
        with pytest.raises(MalformedRecord, match=cause):
            decode_base64(wrong, "it", 1000)
    with pytest.raises(MalformedRecord, match="too large"):
        decode_base64("YWE=", "it", 1)


def test_an_oversized_statement_is_not_signed(monkeypatch):
    monkeypatch.setattr("torchnotary.statement.envelope.MAX_PAYLOAD_BYTES", 10)
    with pytest.raises(MalformedRecord, match="too large to sign"):
        sign(b"x" * 11, KEY)
    with pytest.raises(MalformedRecord, match="payload is too large"):
        Envelope.from_json({**GOOD, "payload": encode_base64(b"x" * 11)})
