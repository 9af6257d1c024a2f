"""The card a notebook shows for a record: self-contained, escaped, and silent about trust."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
import torch

from torchnotary.report.notebook import html


class Reader(HTMLParser):
    """Collects the elements and the text of a card."""

    def __init__(self, card):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(card)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, [name for name, _ in attributes]))

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def record(notary):
    net = torch.nn.Linear(2, 2)

    @notary.record(model=net, name="tiny")
    def score(x):
        return net(x).detach()

    with notary.labels(user="<script>alert(1)</script>"):
        score(torch.ones(1, 2))
    return notary.last


def test_the_card_shows_what_is_claimed_and_how_to_verify_it(record):
    text = Reader(record._repr_html_()).text
    root = record.predicate["model"]["weights"]["root"]
    for shown in (record.id[:16], "tiny", f"{root[:4]} {root[4:8]}", record.public_key.short):
        assert shown in text
    assert "not verified here" in text and "torchnotary verify run.tnr" in text
    assert "signer's clock" in text


def test_nothing_in_a_record_becomes_markup_and_nothing_is_loaded(record):
    card = html(record)
    assert "<script" not in card and "&lt;script&gt;" in card
    allowed = {"div", "b", "table", "tr", "td", "span"}
    for tag, attributes in Reader(card).tags:
        assert tag in allowed and set(attributes) <= {"style"}
    assert "url(" not in card and "http" not in card
