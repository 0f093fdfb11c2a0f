"""The network as a file: a torch.export program (.pt2) and ONNX."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.utils import digit_version
from torch.export import Dim, ExportedProgram

from mmuniqrnet.utils.errors import UserError
from mmuniqrnet.version import __version__

from .network import ExportedNetwork, NetworkInputs

# The lowest opset that has all operators needed, so that old versions of onnxruntime can read the file, too.
DEFAULT_OPSET = 18
# A protobuf file is limited to 2 GiB; larger weights are written to model.onnx.data, next to it.
MAX_IN_ONE_FILE = 1800 * 2**20
# torch.export of 2.6 cannot trace the text encoders of transformers 5.
OLDEST_TORCH = '2.8'
EXAMPLE_BATCH, EXAMPLE_LENGTH = 2, 5


def require_exporter() -> None:
    """Check that the packages for exporting, and for checking an export, are installed.

    Raises:
        UserError: If torch is too old or a package is missing.
    """
    if digit_version(torch.__version__) < digit_version(OLDEST_TORCH):
        raise UserError(
            f'torch {torch.__version__} is too old to export this network; version {OLDEST_TORCH} or later is needed.'
        )
    missing = []
    for name in ('onnx', 'onnxscript', 'onnxruntime'):
        try:
            __import__(name)
        except ImportError:
            missing.append(name)
    if missing:
        raise UserError(
            f"{', '.join(missing)} can't be imported; pip install {' '.join(missing)}, or "
            'pip install "mmuniqrnet[export]".'
        )


def example_inputs(network: ExportedNetwork) -> NetworkInputs:
    """Inputs of the right shapes, with one padded text and a picture that does not fill its canvas."""
    height, width = network.canvas_size
    batch, length = EXAMPLE_BATCH, min(EXAMPLE_LENGTH, network.max_length)
    mask = torch.ones(batch, length, dtype=torch.long)
    mask[0, -1] = 0
    return NetworkInputs(
        image=torch.zeros(batch, 3, height, width),
        input_ids=torch.ones(batch, length, dtype=torch.long),
        attention_mask=mask,
        window=torch.tensor([[0, height // 8, width, height - height // 8]] * batch),
    )


def to_program(network: ExportedNetwork) -> ExportedProgram:
    """The network as a graph, with variable batch size and text length."""
    batch, length = Dim('batch'), Dim('length', max=network.max_length)
    shapes = NetworkInputs({0: batch}, {0: batch, 1: length}, {0: batch, 1: length}, {0: batch})
    with torch.no_grad(), _quiet():
        return torch.export.export(network, tuple(example_inputs(network)), dynamic_shapes=tuple(shapes))


def write_program(program: ExportedProgram, path: Path) -> None:
    """Write a ``.pt2`` file, which ``torch.export.load(path).module()`` can run without this package."""
    for node in program.graph.nodes:
        node.meta.pop('stack_trace', None)  # it contains paths of the machine that exported the network
    with _quiet():
        torch.export.save(program, path)


def write_onnx(program: ExportedProgram, path: Path, output_names: tuple[str, ...], opset: int = DEFAULT_OPSET) -> None:
    """Write an ONNX file; inputs are named as in :class:`NetworkInputs`, variable sizes ``batch`` and ``length``."""
    with torch.no_grad(), _quiet():
        onnx_program = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=opset,
            input_names=list(NetworkInputs._fields),
            output_names=list(output_names),
            verbose=False,
        )
    model = onnx_program.model
    ids = next(value for value in model.graph.inputs if value.name == 'input_ids')
    names = {str(size): name for size, name in zip(ids.shape, ('batch', 'length'))}
    for value in (*model.graph.inputs, *model.graph.outputs):
        for i, size in enumerate(value.shape):
            if str(size) in names:
                value.shape[i] = names[str(size)]
    for node in model.graph.all_nodes():
        node.metadata_props.clear()  # stack traces, which contain paths of the machine that exported the network
    model.metadata_props.clear()
    model.metadata_props['mmuniqrnet_version'] = __version__
    size = sum(value.const_value.nbytes for value in model.graph.initializers.values())
    onnx_program.save(path, external_data=size > MAX_IN_ONE_FILE)


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress log messages and warnings of the exporters: they raise errors, so nothing important is lost."""
    loggers = [logging.getLogger(name) for name in ('torch.onnx', 'torch.export', 'onnxscript', 'onnx_ir')]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)
