"""Losses under exact/1 and by the reference."""

import pytest
import torch
import torch.nn.functional as F

from exact_cases import FLOATS, LAYOUTS, check, numbers, ordinary, special
from exact_reference import losses, sums
from exact_values import close
from torchnotary.exact import exact_scope

REDUCTIONS = ("none", "sum", "mean")
SHAPES = [(), (5,), (7, 9), (50, 100), (0, 3)]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", SHAPES)
def test_losses_of_every_element(shape, dtype, reduction):
    for kind in (special, ordinary):
        x, y = kind(*shape, dtype=dtype, seed=1), kind(*shape, dtype=dtype, seed=2)
        check(
            lambda x, y: F.mse_loss(x, y, reduction=reduction),
            lambda x, y: losses.mse_loss(x, y, reduction),
            x,
            y,
            dtype=dtype,
        )
        check(
            lambda *each: F.binary_cross_entropy_with_logits(*each, reduction=reduction),
            lambda *each: losses.binary_cross_entropy_with_logits(*each, reduction=reduction),
            x,
            y,
            dtype=dtype,
        )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_take_part_in_cross_entropies_of_logits(layout):
    x, y, w = (LAYOUTS[layout](special(7, 9, seed=seed)) for seed in (3, 4, 5))
    p = numbers(9, seed=6)
    for weight, positive in ((w, p), (w, None), (None, p), (p, None)):
        check(
            lambda x, y, w, p: F.binary_cross_entropy_with_logits(
                x, y, w, pos_weight=p, reduction="none"
            ),
            lambda x, y, w, p: losses.binary_cross_entropy_with_logits(x, y, w, p, "none"),
            x,
            y,
            weight,
            positive,
        )


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(6,), (5, 6), (5000, 6), (3, 6, 4), (2, 6, 5, 7), (0, 6)])
def test_likelihoods_of_the_targets(shape, dtype, reduction):
    t = torch.randint(0, 6, shape[:1] * (len(shape) > 1) + shape[2:])
    t = torch.where(torch.rand(t.shape) < 0.2, -100, t)
    x, w = special(*shape, dtype=dtype, seed=7, share=0.1), ordinary(6, dtype=dtype, seed=8)
    for weight in (None, w):
        check(
            lambda x, t, w: F.nll_loss(x, t, w, reduction=reduction),
            lambda x, t, w: losses.nll_loss(x, t, w, reduction),
            x,
            t,
            weight,
            dtype=dtype,
        )
    check(
        lambda x, t: F.nll_loss(x, t, reduction=reduction, ignore_index=3),
        lambda x, t: losses.nll_loss(x, t, None, reduction, 3),
        x,
        t.clamp_min(0),
    )


def test_a_cross_entropy_is_a_log_softmax_and_a_likelihood():
    x, t = ordinary(40, 9, seed=9), torch.arange(40) % 9
    check(F.cross_entropy, lambda x, t: losses.nll_loss(sums.log_softmax(x, 1), t), x, t)
    nothing = torch.full((40,), -100)
    check(F.cross_entropy, lambda x, t: losses.nll_loss(sums.log_softmax(x, 1), t), x, nothing)
    with exact_scope():
        l1, smooth = F.l1_loss(x, x + 1), F.cross_entropy(x, t, label_smoothing=0.1)
        likely = F.cross_entropy(x, x.softmax(1))
    assert l1 == F.l1_loss(x, x + 1)
    close(smooth, F.cross_entropy(x, t, label_smoothing=0.1))
    close(likely, F.cross_entropy(x, x.softmax(1)))


def test_the_rules_agree_with_torch():
    x, y, w, p = ordinary(40, 9), ordinary(40, 9, seed=1).sigmoid(), ordinary(40, 9), ordinary(9)
    t, classes = torch.arange(40) % 9, ordinary(9).abs()
    a, b, c, d = (each.numpy() for each in (x, y, w, p))
    for reduction in REDUCTIONS:
        close(losses.mse_loss(a, b, reduction), F.mse_loss(x, y, reduction=reduction))
        close(
            losses.binary_cross_entropy_with_logits(a, b, c, d, reduction),
            F.binary_cross_entropy_with_logits(x, y, w, pos_weight=p, reduction=reduction),
            1e-5,
        )
        close(
            losses.nll_loss(a, t.numpy(), classes.numpy(), reduction, 3),
            F.nll_loss(x, t, classes, reduction=reduction, ignore_index=3),
            1e-5,
        )


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.nll_loss(x, torch.tensor([0, 1, 4])),
        lambda x: F.nll_loss(x, torch.tensor([0, 1, -1])),
        lambda x: F.nll_loss(x, torch.tensor([0, 1])),
        lambda x: F.binary_cross_entropy_with_logits(x, x[:1]),
        lambda x: F.mse_loss(x, torch.ones(3)),
    ],
)
def test_what_does_not_fit_is_raised_for_as_torch_does(function):
    x = torch.ones(3, 4)
    with pytest.raises((RuntimeError, IndexError, ValueError)):
        function(x)
    with exact_scope(), pytest.raises((RuntimeError, IndexError, ValueError)):
        function(x)
