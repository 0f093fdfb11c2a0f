"""Each strategy against its formula, worked out independently of it."""

import math

import pytest
import torch

from mmuniqrnet.engine.balance.hook import build_strategy
from mmuniqrnet.engine.balance.strategies import BALANCE_STRATEGIES, BalanceStrategy
from mmuniqrnet.utils.errors import UserError

TASKS = ['box', 'mask']


def losses(*values):
    return dict(zip(['box', 'mask', 'aux'], values))


def test_the_issue_s_six_names_are_registered():
    assert {'fixed', 'magnitude', 'dwa', 'uncertainty', 'gradnorm', 'random'} <= set(BALANCE_STRATEGIES.module_dict)


def test_fixed_keeps_its_weights():
    strategy = build_strategy(dict(type='fixed', weights=dict(box=0.1, mask=1)), TASKS)
    assert strategy.initial_weights() == strategy.update(losses(3.0, 4.0)) == dict(box=0.1, mask=1.0)
    assert build_strategy('fixed', TASKS).initial_weights() == dict(box=1.0, mask=1.0)


def test_magnitude_equalises_moving_averages():
    strategy = build_strategy(dict(type='magnitude', decay=0.75), TASKS)
    strategy.update(losses(2.0, 8.0))
    weights = strategy.update(losses(6.0, 4.0))
    # Averages 2 -> 3 and 8 -> 7, weights proportional to 1/3 and 1/7, that is 7 : 3, of the sum 2.
    assert weights == pytest.approx(dict(box=1.4, mask=0.6))


def test_magnitude_is_blind_to_the_unit_of_a_loss():
    plain, scaled = build_strategy('magnitude', TASKS), build_strategy('magnitude', TASKS)
    for box, mask in ((2.0, 1.0), (1.5, 0.9), (1.7, 0.2)):
        ours, theirs = plain.update(losses(box, mask)), scaled.update(losses(1000 * box, mask))
    ratio = (ours['box'] / ours['mask']) / (theirs['box'] / theirs['mask'])
    assert ratio == pytest.approx(1000)
    assert sum(theirs.values()) == pytest.approx(2)


def test_dwa_formula_over_windows():
    strategy = build_strategy(dict(type='dwa', window=2, temperature=2.0), TASKS)
    for box, mask in ((4.0, 1.0), (6.0, 3.0), (3.0, 2.0)):
        assert strategy.update(losses(box, mask)) == dict(box=1.0, mask=1.0)
    weights = strategy.update(losses(2.0, 1.0))  # windows: box 5 -> 2.5, mask 2 -> 1.5
    expected = 2 * torch.softmax(torch.tensor([0.5, 0.75], dtype=torch.float64) / 2.0, 0)
    assert list(weights.values()) == pytest.approx(expected.tolist())
    assert strategy.update(losses(9.0, 9.0)) == weights  # until the third window is complete
    weights = strategy.update(losses(1.0, 3.0))  # box 2.5 -> 5, mask 1.5 -> 6
    expected = 2 * torch.softmax(torch.tensor([2.0, 4.0], dtype=torch.float64) / 2.0, 0)
    assert list(weights.values()) == pytest.approx(expected.tolist())


def test_dwa_survives_a_loss_that_explodes():
    strategy = build_strategy(dict(type='dwa', window=1), TASKS)
    strategy.update(losses(1e-6, 1.0))
    assert strategy.update(losses(1.0, 1.0)) == pytest.approx(dict(box=2.0, mask=0.0))


def test_uncertainty_follows_autograd_and_settles_at_log_of_the_loss():
    values = losses(5.0, 0.2)
    strategy = build_strategy(dict(type='uncertainty', lr=0.05), TASKS)
    assert strategy.initial_weights() == dict(box=0.5, mask=0.5)
    s = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([s], lr=0.05)
    target = torch.tensor([5.0, 0.2], dtype=torch.float64)
    for _ in range(600):
        adam.zero_grad()
        (target * torch.exp(-s) / 2 + s / 2).sum().backward()
        adam.step()
        weights = strategy.update(values)
        assert list(weights.values()) == pytest.approx((torch.exp(-s) / 2).tolist(), rel=1e-9)
    settled = [-math.log(2 * weight) for weight in weights.values()]
    assert settled == pytest.approx([math.log(5.0), math.log(0.2)], abs=1e-3)


def test_gradnorm_follows_the_paper_s_loss_by_autograd():
    tasks = ['box', 'mask', 'aux']
    strategy = build_strategy(dict(type='gradnorm', alpha=1.5, lr=0.1, interval=1), tasks)
    history = [
        ((1.0, 2.0, 3.0), (4.0, 0.5, 1.0)),
        ((0.9, 1.1, 2.5), (3.0, 0.7, 1.0)),
        ((0.5, 1.0, 2.4), (2.0, 0.9, 0.5)),
    ]
    w = torch.ones(3, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([w], lr=0.1)
    for raw, norms in history:
        assert strategy.wants_gradient_norms()
        weights = strategy.update(losses(*raw), losses(*norms))
        adam.zero_grad()
        weighted = w * torch.tensor(norms, dtype=torch.float64)
        rate = torch.tensor(raw, dtype=torch.float64) / torch.tensor(history[0][0], dtype=torch.float64)
        target = (weighted.mean() * (rate / rate.mean()) ** 1.5).detach()
        (weighted - target).abs().sum().backward()
        adam.step()
        with torch.no_grad():
            w *= 3 / w.sum()
        assert list(weights.values()) == pytest.approx(w.tolist(), rel=1e-9)


def test_gradnorm_asks_for_norms_at_its_interval_and_evens_them_out():
    strategy = build_strategy(dict(type='gradnorm', interval=3, alpha=0.0, lr=0.02), TASKS)
    asked = []
    for _ in range(600):
        asked.append(strategy.wants_gradient_norms())
        weights = strategy.update(losses(1.0, 1.0), dict(box=3.0, mask=1.0) if asked[-1] else None)
    assert asked[:7] == [True, False, False, True, False, False, True]
    assert weights['box'] * 3 == pytest.approx(weights['mask'], rel=0.1)  # 0.5 and 1.5


def test_random_is_a_softmax_of_noise_and_reproducible():
    one, same, other = (build_strategy(dict(type='random', seed=seed), TASKS) for seed in (1, 1, 2))
    drawn = [one.initial_weights()] + [one.update(losses(1.0, 1.0)) for _ in range(2000)]
    assert drawn == [same.initial_weights()] + [same.update(losses(7.0, 0.1)) for _ in range(2000)]
    assert drawn[1] != drawn[0] != other.initial_weights()
    assert all(sum(weights.values()) == pytest.approx(2) for weights in drawn)
    # The log-odds of a softmax of two normal numbers are normal with variance 2.
    odds = torch.tensor([math.log(weights['box'] / weights['mask']) for weights in drawn])
    assert float(odds.mean()) == pytest.approx(0, abs=0.15)
    assert float(odds.std()) == pytest.approx(2**0.5, abs=0.1)
    literal = build_strategy(dict(type='random', total=1), TASKS)
    assert sum(literal.initial_weights().values()) == pytest.approx(1)


@pytest.mark.parametrize(
    'strategy',
    ['fixed', 'magnitude', dict(type='dwa', window=2), 'uncertainty', dict(type='gradnorm', interval=2), 'random'],
)
def test_restored_state_goes_on_bit_equal(strategy, tmp_path):

    def step(instance, i):
        norms = losses(1.0 + i % 3, 2.0) if instance.wants_gradient_norms() else None
        return instance.update(losses(1.0 + math.sin(i), 3.0 / (i + 1)), norms)

    straight, second = build_strategy(strategy, TASKS), build_strategy(strategy, TASKS)
    for i in range(5):
        step(straight, i)
    torch.save(straight.state_dict(), tmp_path / 'state.pth')
    second.load_state_dict(torch.load(tmp_path / 'state.pth', weights_only=True))
    assert [step(straight, i) for i in range(5, 12)] == [step(second, i) for i in range(5, 12)]


def test_saved_state_is_not_changed_by_later_steps():
    strategy = build_strategy('uncertainty', TASKS)
    strategy.update(losses(2.0, 3.0))
    state = strategy.state_dict()
    before = state['log_variances']['values'].tolist()
    strategy.update(losses(2.0, 3.0))
    assert state['log_variances']['values'].tolist() == before


def test_a_user_adds_a_strategy_by_name():

    @BALANCE_STRATEGIES.register_module(name='inverse_for_test')
    class Inverse(BalanceStrategy):
        def update(self, losses, gradient_norms=None):
            return {task: 1 / loss for task, loss in losses.items()}

    assert build_strategy('inverse_for_test', TASKS).update(losses(4.0, 0.5)) == dict(box=0.25, mask=2.0)
    assert isinstance(build_strategy(dict(type=Inverse), TASKS), Inverse)


@pytest.mark.parametrize(
    'strategy, error, says',
    [
        ('magnitud', UserError, "no loss balance strategy 'magnitud'.*dwa.*uncertainty"),
        (dict(type='dwa', windows=3), UserError, "'dwa'.*windows.*it takes: window, temperature"),
        (dict(type='dwa', window=0), ValueError, 'window >= 1'),
        (dict(type='magnitude', decay=1.0), ValueError, 'decay < 1'),
        (dict(type='fixed', weights=dict(box=1)), ValueError, 'one weight for each of the tasks'),
        (dict(type='fixed', weights=dict(box=1, mask=1, aux=1)), ValueError, 'aux'),
    ],
)
def test_bad_configs_are_told_in_a_sentence(strategy, error, says):
    with pytest.raises(error, match=says):
        build_strategy(strategy, TASKS)


def test_state_of_another_strategy_is_refused():
    with pytest.raises(UserError, match='averages'):
        build_strategy('magnitude', TASKS).load_state_dict(build_strategy('random', TASKS).state_dict())
