import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from mmuniqrnet.apis.inferencer import UniQRNetInferencer
from mmuniqrnet.export import predictor

from .check import (
    Difference,
    ImageAndExpression,
    Run,
    check_differences,
    compare_answers,
    compare_network,
    compare_preparation,
    describe,
    refshapes_questions,
    turned,
)
from .folder import new_export
from .network import ExportedNetwork, NetworkInputs
from .recipe import exported_tokenizer, predictor_settings
from .writing import DEFAULT_OPSET, to_program, write_onnx, write_program


def export(
    inferencer: UniQRNetInferencer,
    folder: str | Path,
    *,
    opset: int = DEFAULT_OPSET,
    torch_export: bool = False,
    questions: Sequence[ImageAndExpression] = (),
    overwrite: bool = False,
) -> list[Difference]:
    """Write a network as ``model.onnx``, with the files that a predictor needs, if their results equal PyTorch's.

    Args:
        inferencer: An inferencer on the CPU, with the network, its test pipeline and its refusal threshold.
        folder: The folder to write to; it must not exist yet, or be empty.
        opset: ONNX opset.
        torch_export: Whether to write ``model.pt2``, too.
        questions: Images and expressions for the comparison; by default RefShapes pictures made for this purpose.
        overwrite: Whether to replace an existing export.

    Returns:
        The largest differences between the export and PyTorch.

    Raises:
        UserError: If the config has a part that can't be exported, the folder can't be written, or the export's
            results differ from PyTorch's.
    """
    model, pipeline = inferencer.model, inferencer.cfg.test_dataloader.dataset.pipeline
    settings = predictor_settings(model, pipeline, inferencer.refuse_below, inferencer.words, inferencer.made_for)
    tokenizer = exported_tokenizer(model.text_encoder.tokenizer, model.text_encoder.max_length)
    network = ExportedNetwork(model)
    with new_export(folder, overwrite) as new, tempfile.TemporaryDirectory() as pictures:
        questions = list(questions) or refshapes_questions(Path(pictures))
        (new / 'preprocess.json').write_text(json.dumps(settings, indent=2) + '\n', encoding='utf-8')
        tokenizer.save(str(new / 'tokenizer.json'))
        shutil.copyfile(predictor.__file__, new / 'predictor.py')
        print('tracing the network ...')
        program = to_program(network)
        print('writing model.onnx ...')
        write_onnx(program, new / 'model.onnx', network.output_names, opset)
        onnx = predictor.OnnxPredictor(new)
        differences = [
            *compare_network(model, pipeline, questions, onnx_runner(onnx)),
            *compare_preparation(model, pipeline, questions, onnx),
            *compare_answers(inferencer, [*questions, turned(questions[0], Path(pictures))], onnx),
        ]
        if torch_export:
            print('writing model.pt2 ...')
            write_program(program, new / 'model.pt2')
            run = program_runner(new / 'model.pt2', network.output_names)
            differences += [
                d._replace(what=f'model.pt2: {d.what}') for d in compare_network(model, pipeline, questions, run)
            ]
        print(
            f'largest differences from PyTorch on {len(questions)} expressions, alone and in batches of three:\n'
            f'{describe(differences)}'
        )
        check_differences(differences)
    print(f'written to {folder}: {", ".join(sorted(path.name for path in Path(folder).iterdir()))}')
    return differences


def onnx_runner(onnx: predictor.OnnxPredictor) -> Run:
    """:class:`NetworkInputs` -> outputs by name, in onnxruntime."""

    def run(inputs: NetworkInputs) -> dict:
        feed = {name: value.numpy() for name, value in inputs._asdict().items()}
        return dict(zip(onnx.outputs, onnx.session.run(onnx.outputs, feed)))

    return run


def program_runner(path: Path, output_names: Sequence[str]) -> Run:
    """The same for a ``.pt2`` file, which is read from disk."""
    module = torch.export.load(path).module()

    def run(inputs: NetworkInputs) -> dict:
        return {name: value.numpy() for name, value in zip(output_names, module(*inputs))}

    return run
