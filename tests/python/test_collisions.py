"""A sample of the collision campaign (`make collisions`), and that it notices what it looks for."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import collision_items
import collisions
from collision_composites import COMPOSITE_KINDS
from collision_ordinary import ORDINARY_KINDS
from torchnotary import _core, composite

pytestmark = pytest.mark.filterwarnings("ignore")  # beta, prototype, deprecated: torch's layouts


def test_two_thousand_pairs_built_to_collide_have_equal_digests_where_contents_are_equal():
    result = collisions.run(2080, seed=4)
    assert result.failures == []
    assert result.equal.total() + result.different.total() == 2080
    for kind in collisions.KINDS:
        assert result.different[kind.__name__] > 0, kind.__name__
    assert result.equal.total() > 200


@pytest.mark.parametrize("left_out", ["dtype", "shape", "data"])
def test_the_campaign_finds_a_commitment_that_leaves_something_out(monkeypatch, left_out):
    def digest(dtype, shape, data) -> str:
        said = {"dtype": dtype, "shape": shape, "data": data, left_out: None}
        return _core.blake3(repr(said).encode()).hex()

    def forgetful(dtype, shape, data):
        return collision_items.Item(("strided", dtype, shape, data), digest(dtype, shape, data))

    def of_tensor(tensor):
        content = collision_items.content_of(tensor)
        return collision_items.Item(content, digest(*content[1:]))

    for name, replacement in (("raw", forgetful), ("item", of_tensor)):
        monkeypatch.setattr(f"collision_ordinary.{name}", replacement)
    kinds = [
        kind for kind in ORDINARY_KINDS if "same_bytes" in kind.__name__ or "zero" in kind.__name__
    ]
    assert len(kinds) == 3
    assert collisions.run(60, kinds=kinds).failures


@pytest.mark.parametrize("left_out", [0, 1, 2, 3])
def test_the_campaign_finds_a_composite_digest_that_leaves_something_out(monkeypatch, left_out):
    real = composite.composite_digests
    constants = ("nested_strided", "float32", (1,), None)

    def forgetful(layout, dtype, shape, digests):
        given = [layout, dtype, shape, digests]
        given[left_out] = constants[left_out]
        given[3] = sorted(digests) if left_out == 3 else digests
        return real(*given)

    monkeypatch.setattr(composite, "composite_digests", forgetful)
    monkeypatch.setattr(composite, "component_names", lambda layout, count: map(str, range(count)))
    assert collisions.run(20 * len(COMPOSITE_KINDS), kinds=COMPOSITE_KINDS).failures
