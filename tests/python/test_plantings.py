"""A change planted in one operator of a real model is found at exactly that operator."""

from __future__ import annotations

from plantings import KINDS, Campaign


def test_diff_and_reproduce_name_the_operator_a_change_was_planted_in(minilm, tmp_path):
    campaign = Campaign(minilm, tmp_path / "log")
    found = [campaign.failures(1, number) for number in range(len(KINDS))]
    campaign.close()
    assert {site.kind for site, _ in found} == {kind.__name__.replace("_", " ") for kind in KINDS}
    assert [(site, failures) for site, failures in found if failures] == []
