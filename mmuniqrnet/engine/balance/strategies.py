"""Strategies that turn the mean losses of n tasks into the weights of the tasks, chosen by name.

:class:`~mmuniqrnet.engine.hooks.LossBalanceHook` gathers the losses, the same numbers on every rank, and asks its
strategy for new weights after every optimiser step. A strategy is therefore plain arithmetic on floats. A new one::

    @BALANCE_STRATEGIES.register_module(name='inverse')
    class Inverse(BalanceStrategy):

        def update(self, losses, gradient_norms=None):
            return {task: 1 / loss for task, loss in losses.items()}

A strategy lists the attributes that make up its state in ``remembers``; these are saved in checkpoints and restored.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import torch

from mmuniqrnet.registry import BALANCE_STRATEGIES
from mmuniqrnet.utils.errors import UserError

Floats = dict[str, float]
EPS = 1e-12


class BalanceStrategy(ABC):
    """Rule for the weights of tasks.

    Args:
        tasks: names of the tasks, in the order of the hook's ``tasks``.
    """

    remembers: tuple[str, ...] = ()
    """Names of the attributes (numbers, lists, dicts, or objects with a ``state_dict``) that make up the state."""

    def __init__(self, tasks: Sequence[str]) -> None:
        self.tasks = list(tasks)

    def initial_weights(self) -> Floats:
        """Weight of each task in the first optimiser step."""
        return dict.fromkeys(self.tasks, 1.0)

    def wants_gradient_norms(self) -> bool:
        """Whether the next ``update`` needs gradient norms; each costs a partial backward pass."""
        return False

    @abstractmethod
    def update(self, losses: Floats, gradient_norms: Floats | None = None) -> Floats:
        """Weight of each task in the next optimiser step.

        Args:
            losses: unweighted loss of each task, finite and not zero, averaged over ranks and accumulated batches.
            gradient_norms: norm of the gradient of each unweighted loss with respect to the shared parameters,
                averaged likewise; None unless ``wants_gradient_norms`` asked for it.
        """

    def state_dict(self) -> dict:
        values = {name: getattr(self, name) for name in self.remembers}
        return {k: v.state_dict() if hasattr(v, 'state_dict') else deepcopy(v) for k, v in values.items()}

    def load_state_dict(self, state: dict) -> None:
        if set(state) != set(self.remembers):
            raise UserError(
                f'the state of {type(self).__name__} consists of {sorted(self.remembers)}, '
                f'but the one to restore has {sorted(state)}'
            )
        for name in self.remembers:
            if hasattr(getattr(self, name), 'load_state_dict'):
                getattr(self, name).load_state_dict(state[name])
            else:
                setattr(self, name, deepcopy(state[name]))

    def _with_sum(self, values: Sequence[float], total: float | None = None) -> Floats:
        scale = (len(self.tasks) if total is None else total) / sum(values)
        return {task: value * scale for task, value in zip(self.tasks, values)}


class LearnedVector:
    """Numbers that Adam (without weight decay) moves along gradients given to it, in float64 on the CPU.

    Adam is used instead of plain gradient descent because its steps are at most about ``lr`` at any scale of the
    losses, and the first losses of an untrained model can be in the thousands.
    """

    def __init__(self, values: Sequence[float], lr: float) -> None:
        self.values = torch.tensor(values, dtype=torch.float64)
        self.adam = torch.optim.Adam([self.values], lr=lr)

    def step(self, gradient: Sequence[float]) -> None:
        self.values.grad = torch.tensor(gradient, dtype=torch.float64)
        self.adam.step()

    def state_dict(self) -> dict:
        return deepcopy(dict(values=self.values, adam=self.adam.state_dict()))

    def load_state_dict(self, state: dict) -> None:
        self.values.copy_(state['values'])
        self.adam.load_state_dict(state['adam'])


@BALANCE_STRATEGIES.register_module(name='fixed')
class Fixed(BalanceStrategy):
    """Constant weights, the baseline of all published joint models.

    Args:
        weights: weight of every task; None is 1 for each.
    """

    def __init__(self, tasks: Sequence[str], weights: Floats | None = None) -> None:
        super().__init__(tasks)
        self.weights = dict.fromkeys(tasks, 1.0) if weights is None else {k: float(v) for k, v in weights.items()}
        if set(self.weights) != set(self.tasks):
            raise UserError(
                f'strategy "fixed" needs one weight for each of the tasks {self.tasks}, '
                f'but its weights are for {list(self.weights)}'
            )

    def initial_weights(self) -> Floats:
        return dict(self.weights)

    def update(self, losses: Floats, gradient_norms: Floats | None = None) -> Floats:
        return dict(self.weights)


@BALANCE_STRATEGIES.register_module(name='magnitude')
class Magnitude(BalanceStrategy):
    """Make the weighted losses equally large: w_i = EMA(mean_j L_j) / EMA(L_i), scaled to sum n.

    Args:
        decay: of the moving averages, which start at the first losses.
    """

    remembers = ('averages',)

    def __init__(self, tasks: Sequence[str], decay: float = 0.99) -> None:
        super().__init__(tasks)
        if not 0 <= decay < 1:
            raise UserError(f'strategy "magnitude" needs 0 <= decay < 1, but decay is {decay}')
        self.decay = decay
        self.averages: Floats = {}

    def update(self, losses: Floats, gradient_norms: Floats | None = None) -> Floats:
        for task, loss in losses.items():
            self.averages[task] = self.decay * self.averages.get(task, loss) + (1 - self.decay) * loss
        # The numerator is common to all tasks and cancels in the scaling.
        return self._with_sum([1 / max(self.averages[task], EPS) for task in self.tasks])


@BALANCE_STRATEGIES.register_module(name='dwa')
class DynamicWeightAverage(BalanceStrategy):
    """Weigh by how slowly a loss falls: w_i = n softmax_i((L_i[t-1] / L_i[t-2]) / T) (Liu et al. 2019, section 3.2).

    Args:
        window: optimiser steps over which a loss is averaged to one L[t]; the paper's window is an epoch. The weights
            are 1 until two windows are complete.
        temperature: T; larger is more even.
    """

    remembers = ('sums', 'steps', 'history', 'weights')

    def __init__(self, tasks: Sequence[str], window: int = 100, temperature: float = 2.0) -> None:
        super().__init__(tasks)
        if window < 1 or temperature <= 0:
            raise UserError(
                f'strategy "dwa" needs window >= 1 and temperature > 0, but they are {window} and {temperature}'
            )
        self.window = window
        self.temperature = temperature
        self.weights = self.initial_weights()
        self.history: list[Floats] = []
        self.sums, self.steps = dict.fromkeys(self.tasks, 0.0), 0

    def update(self, losses: Floats, gradient_norms: Floats | None = None) -> Floats:
        self.sums = {task: self.sums[task] + losses[task] for task in self.tasks}
        self.steps += 1
        if self.steps == self.window:
            self.history = [*self.history[-1:], {task: self.sums[task] / self.window for task in self.tasks}]
            self.sums, self.steps = dict.fromkeys(self.tasks, 0.0), 0
            if len(self.history) == 2:
                before, last = self.history
                logits = [last[task] / max(before[task], EPS) / self.temperature for task in self.tasks]
                self.weights = self._with_sum([math.exp(logit - max(logits)) for logit in logits])
        return dict(self.weights)


@BALANCE_STRATEGIES.register_module(name='uncertainty')
class Uncertainty(BalanceStrategy):
    """Learned task uncertainty: minimise sum_i L_i exp(-s_i) / 2 + s_i / 2 (Kendall et al. 2018).

    The model sees the weights exp(-s_i) / 2, at first 0.5. The gradient in s_i is (1 - L_i exp(-s_i)) / 2, so that no
    autograd and no parameter of the model is needed; s_i settles where it is log L_i. The terms s_i / 2 do not depend
    on the model and are not part of the logged loss.

    Args:
        lr: learning rate of s, about the largest change of log w in one step.
    """

    remembers = ('log_variances',)

    def __init__(self, tasks: Sequence[str], lr: float = 0.01) -> None:
        super().__init__(tasks)
        self.log_variances = LearnedVector([0.0] * len(self.tasks), lr)

    def initial_weights(self) -> Floats:
        return {task: math.exp(-s) / 2 for task, s in zip(self.tasks, self.log_variances.values.tolist())}

    def update(self, losses: Floats, gradient_norms: Floats | None = None) -> Floats:
        weights = self.initial_weights()
        self.log_variances.step([0.5 - losses[task] * weights[task] for task in self.tasks])
        return self.initial_weights()


@BALANCE_STRATEGIES.register_module(name='gradnorm')
class GradNorm(BalanceStrategy):
    """Pull gradient norms together (Chen et al. 2018, algorithm 1): Adam on ``sum_i |w_i G_i - T_i|``, scaled to sum n.

    G_i is the norm of the gradient of L_i at the shared parameters, r_i = (L_i / L_i[0]) / mean_j(L_j / L_j[0]) the
    relative inverse training rate, and T_i = mean_j(w_j G_j) r_i^alpha, taken as constant.

    Args:
        alpha: 0 makes the norms equal; with larger values, tasks that train more slowly get larger weights.
        lr: learning rate of the weights.
        interval: optimiser steps from one change of the weights to the next.
        min_weight: floor that keeps every weight positive.
    """

    remembers = ('weights', 'first_losses', 'steps')

    def __init__(
        self, tasks: Sequence[str], alpha: float = 1.5, lr: float = 0.025, interval: int = 10, min_weight: float = 1e-3
    ) -> None:
        super().__init__(tasks)
        if interval < 1 or min_weight <= 0:
            raise UserError(
                f'strategy "gradnorm" needs interval >= 1 and min_weight > 0, but they are {interval} and {min_weight}'
            )
        self.alpha, self.interval, self.min_weight = alpha, interval, min_weight
        self.weights = LearnedVector([1.0] * len(self.tasks), lr)
        self.first_losses: Floats = {}
        self.steps = 0

    def wants_gradient_norms(self) -> bool:
        return self.steps % self.interval == 0

    def update(self, losses: Floats, gradient_norms: Floats | None = None) -> Floats:
        self.first_losses = self.first_losses or dict(losses)
        self.steps += 1
        values = self.weights.values
        if gradient_norms is not None:
            norms = [gradient_norms[task] for task in self.tasks]
            weighted = [weight * norm for weight, norm in zip(values.tolist(), norms)]
            ratios = [losses[task] / self.first_losses[task] for task in self.tasks]
            mean_ratio = sum(ratios) / len(ratios)
            targets = [sum(weighted) / len(weighted) * (ratio / mean_ratio) ** self.alpha for ratio in ratios]
            self.weights.step([norm * ((w > t) - (w < t)) for norm, w, t in zip(norms, weighted, targets)])
            values.clamp_(min=self.min_weight)
            values.mul_(len(self.tasks) / values.sum())
        return dict(zip(self.tasks, values.tolist()))


@BALANCE_STRATEGIES.register_module(name='random')
class RandomWeights(BalanceStrategy):
    """Control that a real strategy must beat (RLW, Lin et al. 2022): softmax of normal noise, new at every step.

    Args:
        seed: the weights depend only on it and on the number of the step, so that all ranks have the same weights and
            the other random generators of the run are not affected.
        total: sum of the weights. None is n, as in the other strategies, so that only the balance differs from theirs;
            the paper has 1.
    """

    remembers = ('draws',)

    def __init__(self, tasks: Sequence[str], seed: int = 0, total: float | None = None) -> None:
        super().__init__(tasks)
        self.seed, self.total = seed, total
        self.draws = 0

    def initial_weights(self) -> Floats:
        noise = np.random.default_rng([self.seed, self.draws]).standard_normal(len(self.tasks))
        return self._with_sum(np.exp(noise).tolist(), self.total)

    def update(self, losses: Floats, gradient_norms: Floats | None = None) -> Floats:
        self.draws += 1
        return self.initial_weights()
