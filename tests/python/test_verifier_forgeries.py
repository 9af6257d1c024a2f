"""Records changed anywhere, by anybody, in any way: never valid, never a crash."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch

from torchnotary.errors import MalformedRecord
from torchnotary.statement import container
from torchnotary.statement.lines import canonical, encode_file, parse, tree_of
from torchnotary.verifier.steps import verify
from verifier_helpers import (
    ANYTHING,
    everywhere,
    only_failure,
    repacked,
    replaced,
    resigned,
    saved,
)


def test_no_single_bit_of_a_record_can_be_flipped(notary, tmp_path):
    """Every bit, of a record that discloses everything: never valid, always a typed refusal."""

    @notary.record
    def tiny(x):
        return x + 1

    tiny(torch.ones(2, 2))
    path = saved(notary.last, tmp_path, inputs=(torch.ones(2, 2),), outputs=torch.full((2, 2), 2.0))
    data = path.read_bytes()
    assert verify(data).ok
    verdicts = (
        verify(data[:i] + bytes([data[i] ^ 1 << bit]) + data[i + 1 :])
        for i in range(len(data))
        for bit in range(8)
    )
    survivors = [n for n, verdict in enumerate(verdicts) if verdict.exit_code != 1]
    assert survivors == []


def test_no_byte_of_a_member_can_be_changed_by_somebody_who_mends_the_file_around_it(
    notary, tmp_path
):
    """As above, but with the checksums of the file made anew, so that the steps must notice."""
    net = torch.nn.Linear(2, 1)

    @notary.record(model=net)
    def tiny(x):
        return net(x).detach()

    y = tiny(torch.ones(2, 2))
    path = saved(
        notary.last,
        tmp_path,
        disclose=("weights", "structure"),
        inputs=(torch.ones(2, 2),),
        outputs=y,
    )
    members = container.read(path)
    assert verify(container.pack(members)).ok
    survivors = []
    for name, data in members.items():
        for i in range(len(data)):
            changed = data[:i] + bytes([data[i] ^ 1 << i % 8]) + data[i + 1 :]
            if verify(container.pack({**members, name: changed})).exit_code != 1:
                survivors.append((name, i, data[i : i + 20]))
    assert survivors == []


@pytest.mark.parametrize("field", ["public_key", "log_public_key"])
def test_a_key_that_is_none_is_a_malformed_record(call, tmp_path, field):
    path = saved(call[0], tmp_path)
    for key in (b"", b"\0" * 44, call[0].public_key.spki[:-1]):
        step = only_failure(verify(repacked(path, **{field: key})))
        assert step.name == "format" and isinstance(step.error, MalformedRecord)


@pytest.mark.parametrize("name", ["openings.jsonl", "inputs.jsonl", "structure.jsonl"])
def test_a_line_with_anything_in_it_is_judged_without_a_crash(call, tmp_path, name):
    """The files come from a signer who signed them as they are, whatever is in them."""
    path = saved(call[0], tmp_path, disclose=("structure", "inputs", "outputs"))
    members = container.read(path)
    lines = [parse(line) for line in members[name].splitlines()]
    for place in everywhere(lines[:2]):
        for value in ANYTHING:
            changed = replaced(lines, place, value)
            if not all(isinstance(line, dict) for line in changed):
                continue
            data = encode_file([canonical(line) for line in changed])

            def sign(statement, data=data, changed=changed):
                for subject in statement["subject"]:
                    if subject["name"] == name:
                        subject["digest"]["sha256"] = hashlib.sha256(data).hexdigest()
                part = name.partition(".")[0]
                predicate = statement["predicate"]
                section = predicate["model"] if part == "structure" else predicate
                if part in section:
                    tree = tree_of([canonical(line) for line in changed])
                    section[part] = tree.to_json()

            forged = container.unpack(resigned(path, sign))
            verdict = verify(container.pack({**forged, name: data}), inputs=call[1])
            assert str(verdict), (place, value)


def test_evidence_with_anything_in_its_header_is_refused_without_a_crash(call, tmp_path):
    path = saved(call[0], tmp_path, inputs=call[1], outputs=call[2])
    members = container.read(path)
    evidence = members["evidence.safetensors"]
    length = int.from_bytes(evidence[:8], "little")
    header, rest = json.loads(evidence[8 : 8 + length]), evidence[8 + length :]

    def refused(header):
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        data = len(text).to_bytes(8, "little") + text + rest
        if data == evidence:
            return True
        return verify(container.pack({**members, "evidence.safetensors": data})).exit_code == 1

    for place in everywhere(header):
        for value in ANYTHING:
            assert refused(replaced(header, place, value)), (place, value)
    listed = json.loads(header["__metadata__"]["outputs"])
    for place in everywhere(listed):
        for value in ANYTHING:
            text = json.dumps(replaced(listed, place, value), sort_keys=True, separators=(",", ":"))
            metadata = {**header["__metadata__"], "outputs": text}
            assert refused({**header, "__metadata__": metadata}), (place, value)


def test_no_truncation_and_no_byte_added_is_valid(call, tmp_path):
    data = saved(call[0], tmp_path, disclose=("outputs",)).read_bytes()
    lengths = [0, 1, 100, len(data) // 2, len(data) - 1]
    for changed in (*(data[:n] for n in lengths), data + b"\0", b"\0" + data, data + data):
        assert verify(changed).exit_code == 1
