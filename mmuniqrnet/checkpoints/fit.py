"""How the weights of a checkpoint fit a model, in numbers and in words."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from mmuniqrnet.utils.errors import CheckpointError

# What a checkpoint may lack as a whole: what QRNet adds to Swin, and what UniQRNet adds to QRNet.
NEW_BY_DESIGN = ('backbone.gates.', 'neck.gates.', 'head.mask_branch.', 'head.score_branch.', 'head.pixel_guidance.')
# Buffers that follow from the model's settings.
MADE_BY_MODEL = ('relative_position_index', 'num_batches_tracked')


@dataclass(frozen=True)
class Mismatch:
    """A tensor that both have, in different shapes."""

    name: str
    in_file: tuple[int, ...]
    in_model: tuple[int, ...]

    def __str__(self) -> str:
        return f'{self.name} is {list(self.in_file)} in the file and {list(self.in_model)} in the model'


@dataclass(frozen=True)
class Fit:
    """Names of tensors, by what becomes of them when a state dict is loaded into a model.

    Attributes:
        matched: In both, in the same shape.
        new: In the model alone, by design: a part that the checkpoint can't have and has nothing of.
        missing: In the model alone, though they should not be.
        mismatched: In both, in different shapes.
        unexpected: In the file alone, though they should not be.
        left_out: In the file alone, as is known and meant: of a part that the model does not have at all, say.
    """

    matched: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    mismatched: list[Mismatch] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @property
    def expected(self) -> list[str]:
        """What the checkpoint should have brought."""
        return [*self.matched, *self.missing, *(m.name for m in self.mismatched)]

    def counts(self, prefix: str = '') -> tuple[int, int]:
        """How many tensors matched under a prefix, of how many that either side has and the other should have.

        The surplus of the file counts, too: a deeper Swin brings all that a shallow one needs, and does not fit it.
        """
        return (
            sum(name.startswith(prefix) for name in self.matched),
            sum(name.startswith(prefix) for name in [*self.expected, *self.unexpected]),
        )

    def problem(self, prefix: str = '') -> str | None:
        """An example of what does not fit under a prefix."""
        for mismatch in self.mismatched:
            if mismatch.name.startswith(prefix):
                return str(mismatch)
        for name in self.missing:
            if name.startswith(prefix):
                return f'{name} is not in the file'
        for name in self.unexpected:
            if name.startswith(prefix):
                return f'{name} is not in the model'
        return None

    def parts(self) -> list[str]:
        """The model's parts with something expected, as prefixes."""
        return list(dict.fromkeys(part_of(name) for name in self.expected))

    def describe(self, examples: int = 20) -> str:
        """The report, one line for each kind and for each name that needs a look."""
        shares = [
            f'{part[:-1] or "model"} {matched} of {total}'
            for part in self.parts()
            for matched, total in [self.counts(part)]
        ]
        lines = [f'matched: {len(self.matched)} of {len(self.expected)} tensors ({", ".join(shares) or "none"})']
        lines += _listing('new by design', summary(self.new), len(self.new), examples)
        lines += _listing('missing', self.missing, len(self.missing), examples)
        lines += _listing('of another shape', [str(m) for m in self.mismatched], len(self.mismatched), examples)
        lines += _listing('unexpected', self.unexpected, len(self.unexpected), examples)
        lines += _listing('left out', summary(self.left_out), len(self.left_out), examples)
        return '\n'.join(lines)


def judge(
    state: Mapping[str, Tensor],
    reference: Mapping[str, Tensor],
    new: Sequence[str] = NEW_BY_DESIGN,
    left_out: Iterable[str] = (),
) -> Fit:
    """How a state dict fits a model.

    Args:
        state: What would be loaded.
        reference: The model's own state dict.
        new: Prefixes of parts that one side may lack, each as a whole.
        left_out: Names in the file that were left out before, for the report.
    """
    absent = tuple(prefix for prefix in new if not any(name.startswith(prefix) for name in state))
    unknown = tuple(prefix for prefix in new if not any(name.startswith(prefix) for name in reference))
    fit = Fit(left_out=list(left_out))
    for name in state:
        if name not in reference:
            (fit.left_out if name.startswith(unknown) else fit.unexpected).append(name)
    for name, tensor in reference.items():
        if name not in state:
            if not name.endswith(MADE_BY_MODEL):
                (fit.new if name.startswith(absent) else fit.missing).append(name)
        elif state[name].shape == tensor.shape:
            fit.matched.append(name)
        else:
            fit.mismatched.append(Mismatch(name, tuple(state[name].shape), tuple(tensor.shape)))
    return fit


def require(
    fit: Fit, prefix: str = '', share: float = 0.95, what: str = 'the checkpoint', shapes: bool = False
) -> None:
    """Refuse a checkpoint that brings too little.

    Raises:
        CheckpointError: If less than ``share`` of the tensors under ``prefix`` matched, or there were none; with
            ``shapes``, if any tensor has another shape.
    """
    if shapes and fit.matched and fit.mismatched:
        raise CheckpointError(f'{what} does not fit: {fit.mismatched[0]}.')
    matched, total = fit.counts(prefix)
    if total == 0 or matched < share * total:
        raise CheckpointError(
            f'{what} does not fit: {matched} of {total} tensors of {prefix[:-1] or "the model"} '
            f'matched, {share:.0%} must; {fit.problem(prefix) or "there are none"}.'
        )


def part_of(name: str) -> str:
    """The prefix of the part that a tensor belongs to: ``backbone.``, ``neck.``, ``head.encoder.``, ..."""
    pieces = name.split('.')
    return '.'.join(pieces[: 2 if pieces[0] == 'head' else 1]) + '.' if len(pieces) > 2 else ''


def summary(names: Iterable[str]) -> list[str]:
    """Names counted by what they begin with, up to the second word or number."""
    groups = Counter(re.match(r'[^.]+(\.[^.]+(?=\.))?', name)[0] for name in names)
    return [f'{group}.* ({count})' for group, count in groups.items()]


def _listing(title: str, items: Sequence[str], count: int, examples: int) -> list[str]:
    if not count:
        return [f'{title}: none']
    more = [f'  ... and {len(items) - examples} more'] if len(items) > examples else []
    return [f'{title}: {count}', *(f'  {item}' for item in items[:examples]), *more]
