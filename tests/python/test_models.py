"""The models that tests and benchmarks run are the real ones."""

from __future__ import annotations

import torch


def test_smollm2_knows_the_capital_of_france(smollm2):
    # "The capital of France is" and " Paris" in the tokens of SmolLM2's vocabulary.
    prompt = torch.tensor([[504, 3575, 282, 4649, 314]])
    with torch.inference_mode():
        assert smollm2(prompt).logits[0, -1].argmax() == 7042
