"""Record which parameters of a model are loaded from checkpoints, whatever code loads them."""

from collections.abc import Callable, Mapping

from torch import Tensor, nn


class LoadRecorder:
    """Records the parameters of a model that are loaded, from now until :meth:`stop`.

    It notes each parameter for which a state dict that is loaded into the model, or into a part of it, has a tensor of
    the same name and shape. So it does not matter whether the weights come from ``load_from``, from the ``init_cfg`` of
    any backbone of mmdet, or from one of our own functions. The parameters that a part names in ``loaded_at_build``
    (see :class:`mmuniqrnet.models.TextEncoder`) were loaded before, and count as well.

    Args:
        model: The model, without a wrapper for distributed training.
    """

    def __init__(self, model: nn.Module) -> None:
        self._loaded: set[int] = set()
        self._handles = []
        for module in model.modules():
            self._loaded.update(id(module.get_parameter(name)) for name in getattr(module, 'loaded_at_build', ()))
            # The public method of this name is newer than the oldest torch that is supported.
            self._handles.append(module._register_load_state_dict_pre_hook(self._listener(module)))

    def has_loaded(self, parameter: nn.Parameter) -> bool:
        """Whether a parameter of the model was loaded."""
        return id(parameter) in self._loaded

    def stop(self) -> None:
        """Stop recording; what was recorded is kept."""
        for handle in self._handles:
            handle.remove()

    def _listener(self, module: nn.Module) -> Callable[..., None]:
        loaded = self._loaded

        # A plain function instead of a bound method, so that a deep copy of the model does not copy the recorder.
        def note(state: Mapping[str, Tensor], prefix: str, *_: object) -> None:
            for name, parameter in module.named_parameters(recurse=False):
                value = state.get(prefix + name)
                if value is not None and value.shape == parameter.shape:
                    loaded.add(id(parameter))

        return note
