from collections.abc import Iterable, Sequence

from mmengine.model import BaseModule, initialize
from torch import Tensor, nn

from mmuniqrnet.utils.errors import UserError

from .seams import Seam
from .seams.probe import freeze_unused


class LibraryBackbone(BaseModule):
    """A backbone of a library that has no OpenMMLab form, under ``model``: frozen stages, and its weights' origin.

    Args:
        model: The backbone.
        loaded: The names of its parameters that were loaded.
        seam: The seam of the backbone; None if there is none.
        frozen_stages: The number of first stages that are not trained, together with what comes before them; -1 trains
            all.
        init_cfg: mmengine initialisation, after the library's own.
    """

    def __init__(
        self, model: nn.Module, loaded: Iterable[str], seam: Seam | None, frozen_stages: int, init_cfg: dict | None
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.model = model
        self.loaded_at_build = frozenset(f'model.{name}' for name in loaded)
        if seam is not None:
            self.seam = seam
        self.frozen_stages = frozen_stages

    def _freeze(self) -> None:
        """Freeze the first stages, and what no map depends on; to be called when the backbone can be run."""
        if self.frozen_stages >= 0:
            self._check_frozen_stages(getattr(self, 'seam', None))
        freeze_unused(self)
        for part in self.frozen_parts():
            part.requires_grad_(False)
        self.train(self.training)

    def _check_frozen_stages(self, seam: Seam | None) -> None:
        name, network = type(self).__name__, type(self.model).__name__
        if seam is None:
            raise UserError(
                f'{name}: the stages of {network} are not known, so frozen_stages={self.frozen_stages} is not possible;'
                ' give its parameters lr_mult=0 in optim_wrapper.paramwise_cfg.custom_keys.'
            )
        if self.frozen_stages > seam.num_stages(self):
            raise UserError(
                f'{name}: frozen_stages={self.frozen_stages} is more than the {seam.num_stages(self)} stages of '
                f'{network}.'
            )

    def frozen_parts(self) -> Sequence[nn.Module]:
        """The modules that ``frozen_stages`` freezes."""
        if self.frozen_stages < 0:
            return []
        stages = [part for i in range(self.frozen_stages) for part in self.seam.stage_parts(self, i)]
        return [*self.seam.stem_parts(self), *stages]

    def train(self, mode: bool = True) -> 'LibraryBackbone':
        super().train(mode)
        for part in self.frozen_parts():
            part.eval()
        return self

    def init_weights(self) -> None:
        """Apply ``init_cfg``, if any: the library has already initialised or loaded the backbone."""
        if self.init_cfg:
            initialize(self, self.init_cfg)
        self._is_init = True

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """images [B, 3, H, W] -> maps [B, C_i, H_i, W_i]."""
        raise NotImplementedError
