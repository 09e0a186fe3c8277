"""The losses against torch.distributions and plain loops."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Categorical, kl_divergence

from zooter.training.losses import (
    BradleyTerry,
    CrossEntropy,
    ExpectedReward,
    ForwardKL,
    Objective,
    ReverseKL,
    masked_log_softmax,
    tag_cross_entropy,
)

ALL = [ForwardKL(), ReverseKL(), CrossEntropy(), ExpectedReward(), BradleyTerry()]


def batch(seed: int = 0, b: int = 5, m: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits, labels, rewards and a mask with one cell at least in every row."""
    random = torch.Generator().manual_seed(seed)
    mask = torch.rand(b, m, generator=random) < 0.6
    mask[torch.arange(b), torch.randint(m, (b,), generator=random)] = True
    labels = torch.rand(b, m, generator=random).masked_fill(~mask, 0.0)
    rewards = torch.randn(b, m, generator=random).masked_fill(~mask, math.nan)
    return torch.randn(b, m, generator=random), labels / labels.sum(1, keepdim=True), rewards, mask


def rows(seed: int) -> list[tuple[Categorical, Categorical, torch.Tensor]]:
    """Router, label and rewards of each query over its observed candidates alone."""
    logits, labels, rewards, mask = batch(seed)
    return [
        (Categorical(logits=z[seen]), Categorical(probs=s[seen]), r[seen])
        for z, s, r, seen in zip(logits, labels, rewards, mask, strict=True)
    ]


def mean(values: list[torch.Tensor]) -> float:
    return float(torch.stack(values).mean())


@given(st.integers(0, 10_000))
def test_forward_kl_is_the_divergence_of_the_router_from_the_label(seed: int) -> None:
    expected = mean([kl_divergence(s, z) for z, s, _ in rows(seed)])
    assert float(ForwardKL()(*batch(seed))) == pytest.approx(expected, abs=1e-5)


@given(st.integers(0, 10_000))
def test_reverse_kl_is_the_divergence_of_the_label_from_the_router(seed: int) -> None:
    expected = mean([kl_divergence(z, s) for z, s, _ in rows(seed)])
    assert float(ReverseKL(floor=1e-30)(*batch(seed))) == pytest.approx(expected, abs=1e-5)


@given(st.integers(0, 10_000))
def test_cross_entropy_is_forward_kl_and_the_entropy_of_the_label(seed: int) -> None:
    expected = mean([kl_divergence(s, z) + s.entropy() for z, s, _ in rows(seed)])
    assert float(CrossEntropy()(*batch(seed))) == pytest.approx(expected, abs=1e-5)


@given(st.integers(0, 10_000))
def test_expected_reward_is_the_negative_mean_over_the_routers_draws(seed: int) -> None:
    expected = -mean([(z.probs * r).sum() for z, _, r in rows(seed)])
    assert float(ExpectedReward()(*batch(seed))) == pytest.approx(expected, abs=1e-5)


def test_one_query_by_hand() -> None:
    logits = torch.tensor([[math.log(3.0), 0.0, 7.0]])  # z = (3/4, 1/4, –)
    batch_of_one = (
        logits,
        torch.tensor([[0.5, 0.5, 0.0]]),
        torch.tensor([[1.0, 2.0, 99.0]]),
        torch.tensor([[True, True, False]]),
    )
    assert float(ForwardKL()(*batch_of_one)) == pytest.approx(0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25))
    assert float(ReverseKL()(*batch_of_one)) == pytest.approx(0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5))
    assert float(CrossEntropy()(*batch_of_one)) == pytest.approx(-0.5 * math.log(0.75) - 0.5 * math.log(0.25))
    assert float(ExpectedReward()(*batch_of_one)) == pytest.approx(-(0.75 * 1.0 + 0.25 * 2.0))


def test_both_divergences_are_zero_when_the_router_matches_the_label() -> None:
    _, labels, rewards, mask = batch()
    for objective in (ForwardKL(), ReverseKL(floor=1e-9)):
        assert float(objective(labels.log(), labels, rewards, mask)) == pytest.approx(0.0, abs=1e-6)


def test_the_floor_keeps_reverse_kl_finite_where_the_label_is_hard() -> None:
    z, hard, mask = torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]), torch.ones(1, 2, dtype=torch.bool)
    expected = 0.5 * math.log(0.5 / 1.0) + 0.5 * math.log(0.5 / 1e-4)
    assert float(ReverseKL()(z, hard, z, mask)) == pytest.approx(expected)


@pytest.mark.parametrize("objective", ALL, ids=lambda o: type(o).__name__)
def test_missing_cells_change_neither_loss_nor_gradient(objective: Objective) -> None:
    logits, labels, rewards, mask = batch(3)
    assert not mask.all()
    results = []
    for noise in (0.0, 50.0):
        z = (logits + noise * ~mask).requires_grad_()
        loss = objective(z, labels, rewards, mask)
        loss.backward()
        results.append((loss.detach(), z.grad))
    (loss, gradient), (noisy_loss, noisy_gradient) = results
    assert torch.equal(loss, noisy_loss)
    assert torch.equal(gradient, noisy_gradient)
    assert torch.isfinite(gradient).all()
    assert (gradient[~mask] == 0).all()


@pytest.mark.parametrize("objective", ALL, ids=lambda o: type(o).__name__)
def test_a_single_observed_candidate_has_no_gradient(objective: Objective) -> None:
    logits = torch.tensor([[1.0, 5.0]], requires_grad=True)
    labels_rewards_mask = torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, math.nan]]), torch.tensor([[True, False]])
    objective(logits, *labels_rewards_mask).backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros(1, 2))


@pytest.mark.parametrize("objective", ALL, ids=lambda o: type(o).__name__)
def test_extreme_logits_stay_finite(objective: Objective) -> None:
    logits = torch.tensor([[500.0, -500.0]], requires_grad=True)
    ones = torch.ones(1, 2, dtype=torch.bool)
    loss = objective(logits, torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 0.0]]), ones)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_the_masked_softmax_sums_to_one_over_what_is_observed() -> None:
    logits, _, _, mask = batch(1)
    z = masked_log_softmax(logits, mask).exp()
    assert torch.allclose(z.sum(1), torch.ones(5))
    assert (z[~mask] == 0).all()


def test_tags_of_one_query_share_it_equally_and_queries_without_any_do_not_count() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0], [math.log(2.0), 0.0, 0.0], [9.0, 0.0, 0.0]])
    membership = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    # −log ⅓ for the first; the second has probabilities ½, ¼, ¼: −(log ½ + log ¼)/2.
    expected = (math.log(3.0) + 1.5 * math.log(2.0)) / 2.0
    assert float(tag_cross_entropy(logits, membership)) == pytest.approx(expected)
    assert float(tag_cross_entropy(logits, torch.zeros(3, 3))) == 0.0


@given(st.integers(0, 10_000))
def test_bradley_terry_is_the_likelihood_of_every_pair_with_ties_as_half_a_win_of_each(seed: int) -> None:
    logits, labels, rewards, mask = batch(seed)
    rewards = torch.where(rewards.isnan(), rewards, rewards.round())  # so that there are ties
    losses = []
    for z, r, seen in zip(logits, rewards, mask, strict=True):
        columns = torch.nonzero(seen).ravel().tolist()
        pairs = [(i, j) for i in columns for j in columns if i < j]
        terms = []
        for i, j in pairs:
            first = float(z[i].exp() / (z[i].exp() + z[j].exp()))
            share = 0.5 if r[i] == r[j] else float(r[i] > r[j])
            terms.append(-share * math.log(first) - (1 - share) * math.log(1 - first))
        losses += [sum(terms) / len(terms)] if terms else []
    expected = sum(losses) / len(losses) if losses else 0.0
    assert float(BradleyTerry()(logits, labels, rewards, mask)) == pytest.approx(expected, abs=1e-5)


def test_bradley_terry_is_least_at_the_strengths_of_the_minorisation_algorithm() -> None:
    """Without features the best logits are the maximum-likelihood strengths, by Hunter's algorithm (2004, eq. 3)."""
    wins = torch.tensor([[0.0, 3.0, 4.5], [2.0, 0.0, 2.0], [1.5, 5.0, 0.0]])  # i over j; one tie of the first and last
    strengths = torch.ones(3)
    for _ in range(500):
        met = (wins + wins.T) / (strengths[:, None] + strengths[None, :])
        strengths = wins.sum(dim=1) / met.sum(dim=1)
        strengths = strengths / strengths.sum()
    battles = [(i, j, 0.5) for i in range(3) for j in range(3) for _ in range(int(wins[i, j]))] + [(0, 2, 0.0)]
    rewards = torch.full((len(battles), 3), math.nan)
    for row, (i, j, reward) in enumerate(battles):
        rewards[row, i], rewards[row, j] = reward, -reward
    logits = strengths.log().requires_grad_()
    loss = BradleyTerry()(logits.expand(len(battles), 3), rewards, rewards, ~rewards.isnan())
    (slope,) = torch.autograd.grad(loss, logits)
    assert slope.tolist() == pytest.approx([0.0] * 3, abs=1e-6)
    assert logits.tolist() != pytest.approx([0.0] * 3, abs=0.1)


def test_bradley_terry_of_queries_with_one_reward_is_zero() -> None:
    mask = torch.tensor([[True, False], [False, True]])
    assert float(BradleyTerry()(torch.randn(2, 2), mask * 1.0, mask * 1.0, mask)) == 0.0
