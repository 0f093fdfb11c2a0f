"""Compare the weights of a checkpoint with those of a model, and report the differences."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from mmuniqrnet.utils.errors import CheckpointError

# Parts that a checkpoint may lack completely: what QRNet adds to Swin, and what UniQRNet adds to QRNet.
NEW_BY_DESIGN = (
    'backbone.gates.',
    'neck.gates.',
    'head.box_branch.references.',
    'head.mask_branch.',
    'head.score_branch.',
    'head.pixel_guidance.',
)
# Buffers that the model computes from its settings.
BUFFERS_FROM_SETTINGS = ('relative_position_index', 'num_batches_tracked')


@dataclass(frozen=True)
class Mismatch:
    """A tensor whose shape differs between file and model."""

    name: str
    in_file: tuple[int, ...]
    in_model: tuple[int, ...]

    def __str__(self) -> str:
        return f'{self.name} is {list(self.in_file)} in the file and {list(self.in_model)} in the model'


@dataclass(frozen=True)
class FitReport:
    """Names of tensors, grouped by what happens to them when a state dict is loaded into a model.

    Attributes:
        matched: In both, with the same shape.
        new: Only in the model, by design: of a part of which the checkpoint has nothing.
        missing: Only in the model, by mistake.
        mismatched: In both, with different shapes.
        unexpected: Only in the file, by mistake.
        left_out: Only in the file, by design: for example of a part that the model does not have.
    """

    matched: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    mismatched: list[Mismatch] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @property
    def expected(self) -> list[str]:
        """The tensors of the model that the checkpoint should have."""
        return [*self.matched, *self.missing, *(m.name for m in self.mismatched)]

    def counts(self, prefix: str = '') -> tuple[int, int]:
        """The number of matched tensors under a prefix, and of all that should have matched, from file and model.

        Tensors that only the file has count as well: a deeper Swin has all tensors of a shallower one, but does not
        fit.
        """
        return (
            sum(name.startswith(prefix) for name in self.matched),
            sum(name.startswith(prefix) for name in [*self.expected, *self.unexpected]),
        )

    def problem(self, prefix: str = '') -> str | None:
        """A sentence on the first tensor under a prefix that does not fit; None if all fit."""
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

    def gate_norm_problem(self) -> str | None:
        """A sentence if the gates of file and model differ in ``gate_norm``, which changes what their weights mean.

        Their other tensors have the same names and shapes, and are too many for the difference to count.
        """
        for names, in_file, value in ((self.missing, 'without', False), (self.unexpected, 'with', True)):
            for name in names:
                gate, _, rest = name.partition('.channel.norm.')
                if rest and f'{gate}.channel.squeeze.V' in self.matched:
                    part = gate.rpartition('gates.')[0].rstrip('.') or 'backbone'
                    limit = '' if value else ', and gate_limit=None unless they were trained with a limit'
                    return (
                        f'the weights of {gate}.channel are of a gate {in_file} gate_norm: set '
                        f'model.{part}.gate_norm={value} (likewise in every part with gates){limit}'
                    )
        return None

    def parts(self) -> list[str]:
        """The model's parts of which the checkpoint should have tensors, as prefixes."""
        return list(dict.fromkeys(part_of(name) for name in self.expected))

    def describe(self, examples: int = 20) -> str:
        """The report as text: one line for each group, and one for each name that may be a mistake."""
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


def compare_state_dicts(
    state: Mapping[str, Tensor],
    reference: Mapping[str, Tensor],
    new: Sequence[str] = NEW_BY_DESIGN,
    left_out: Iterable[str] = (),
) -> FitReport:
    """Compare a state dict with a model's.

    Args:
        state: The state dict to load.
        reference: The model's state dict.
        new: Prefixes of parts that either side may lack completely.
        left_out: Names in the file that were left out earlier, for the report.
    """
    absent = tuple(prefix for prefix in new if not any(name.startswith(prefix) for name in state))
    unknown = tuple(prefix for prefix in new if not any(name.startswith(prefix) for name in reference))
    fit = FitReport(left_out=list(left_out))
    for name in state:
        if name not in reference:
            (fit.left_out if name.startswith(unknown) else fit.unexpected).append(name)
    for name, tensor in reference.items():
        if name not in state:
            if not name.endswith(BUFFERS_FROM_SETTINGS):
                (fit.new if name.startswith(absent) else fit.missing).append(name)
        elif state[name].shape == tensor.shape:
            fit.matched.append(name)
        else:
            fit.mismatched.append(Mismatch(name, tuple(state[name].shape), tuple(tensor.shape)))
    return fit


def require_fit(
    fit: FitReport, prefix: str = '', share: float = 0.95, what: str = 'the checkpoint', shapes: bool = False
) -> None:
    """Refuse a checkpoint of which too little matches.

    Args:
        fit: The comparison.
        prefix: Only tensors with this prefix count.
        share: The share of them that must match.
        what: The name of the checkpoint in the message.
        shapes: Whether to refuse any tensor of another shape, too.

    Raises:
        CheckpointError: If less than ``share`` of the tensors under ``prefix`` matched, or there were none, or the
            gates of file and model differ in ``gate_norm``; with ``shapes``, also if any tensor has another shape.
    """
    gate_norm = fit.gate_norm_problem()
    if gate_norm:
        raise CheckpointError(f'{what} does not fit: {gate_norm}.')
    if shapes and fit.matched and fit.mismatched:
        raise CheckpointError(f'{what} does not fit: {fit.mismatched[0]}.')
    matched, total = fit.counts(prefix)
    if total == 0 or matched < share * total:
        raise CheckpointError(
            f'{what} does not fit: {matched} of {total} tensors of {prefix[:-1] or "the model"} '
            f'matched, {share:.0%} must match; {fit.problem(prefix) or "there are none"}.'
        )


def part_of(name: str) -> str:
    """The prefix of the part that a tensor belongs to: ``backbone.``, ``neck.``, ``head.encoder.``, ..."""
    pieces = name.split('.')
    return '.'.join(pieces[: 2 if pieces[0] == 'head' else 1]) + '.' if len(pieces) > 2 else ''


def summary(names: Iterable[str]) -> list[str]:
    """Names counted by their first two components, as ``'head.mask_branch.* (12)'``."""
    groups = Counter('.'.join(name.split('.')[: 2 if name.count('.') > 1 else 1]) for name in names)
    return [f'{group}.* ({count})' for group, count in groups.items()]


def _listing(title: str, items: Sequence[str], count: int, examples: int) -> list[str]:
    if not count:
        return [f'{title}: none']
    more = [f'  ... and {len(items) - examples} more'] if len(items) > examples else []
    return [f'{title}: {count}', *(f'  {item}' for item in items[:examples]), *more]
