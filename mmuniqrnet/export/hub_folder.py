"""The folder of a repository on the Hugging Face hub: weights, a model card, and a small config.json."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from mmuniqrnet.evaluation.report import to_markdown
from mmuniqrnet.utils.errors import OverwriteError, UserError
from mmuniqrnet.utils.hub import parse_address

WEIGHTS, CARD, CONFIG = 'model.safetensors', 'README.md', 'config.json'
TAGS = ('referring-expression-comprehension', 'referring-image-segmentation', 'visual-grounding')
# The kind of task that the hub has for it: it knows no referring expressions.
PIPELINE = 'image-segmentation'
SHARED_COLUMNS = ('Acc@0.5', 'oIoU', 'mIoU')

ASK = """## Ask it

This needs the Python package mmuniqrnet, which is installed from its repository: it is not on PyPI yet.

```sh
mmuniqrnet ground photo.jpg "the man left of the door" --weights hf://{repo}
```

```python
from mmuniqrnet.apis import UniQRNetInferencer

ask = UniQRNetInferencer(weights='hf://{repo}')
answer = ask('photo.jpg', 'the man left of the door')['predictions'][0]
answer['box'], answer['mask'], answer['score']
```

The file contains its config, so nothing else is needed. Boxes are xyxy in pixels of the image, masks are RLE (COCO)."""


def new_folder(path: str | Path) -> Path:
    """An empty folder, made if it does not exist.

    Raises:
        OverwriteError: There is something in it.
    """
    folder = Path(path).expanduser()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OverwriteError(f'{folder} exists and is not an empty folder: give another name.')
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_about(folder: Path, repo: str, metadata: Mapping[str, str], license: str) -> None:
    """Write the model card and ``config.json`` beside published weights.

    Args:
        folder: The folder, which has ``model.safetensors`` already.
        repo: ``ORG/NAME``.
        metadata: What :func:`mmuniqrnet.export.publish.publish` returned.
        license: The licence's name on the hub, such as ``apache-2.0``.

    Raises:
        UserError: ``repo`` is not of this form.
    """
    name = parse_address(f'hf://{repo}').repo.partition('/')[2]
    rows = json.loads(metadata['figures']) if 'figures' in metadata else []
    data = ModelCardData(
        license=license,
        library_name='mmuniqrnet',
        pipeline_tag=PIPELINE,
        tags=list(TAGS),
        model_name=name if rows else None,
        eval_results=_eval_results(rows) or None,
    )
    card = ModelCard(f'---\n{data.to_yaml()}\n---\n\n{_text(name, repo, metadata, rows)}')
    (folder / CARD).write_text(str(card), encoding='utf-8')
    about = dict(model_type='uniqrnet', library_name='mmuniqrnet', mmuniqrnet_version=metadata['mmuniqrnet_version'])
    (folder / CONFIG).write_text(json.dumps(about, indent=2) + '\n', encoding='utf-8')


def _eval_results(rows: Sequence[Mapping[str, Any]]) -> list[EvalResult]:
    """The figures in the form of the hub, which shows them beside those of other models."""
    return [
        EvalResult(
            task_type=PIPELINE,
            dataset_type=str(row['set']).partition('/')[0],
            dataset_name=str(row['set']),
            dataset_split=str(row['set']).partition('/')[2] or None,
            metric_type=column,
            metric_name=column,
            metric_value=round(float(row[column]), 2),
        )
        for row in rows
        for column in SHARED_COLUMNS
        if row.get(column) is not None
    ]


def _text(name: str, repo: str, metadata: Mapping[str, str], rows: list[dict[str, Any]]) -> str:
    made_for = metadata.get('made_for')
    parts = [
        f'# {name}\n\nA UniQRNet: given an image and an expression such as "the man left of the door", it answers with '
        'the box and the mask of the object that the expression names, and with a score.',
        ASK.format(repo=repo),
    ]
    if made_for:
        parts.append(f'## What it knows\n\nIt was made for: {made_for}. Answers about other images are guesses.')
    if rows:
        parts.append(
            f'## Figures\n\n{to_markdown(rows)}\n\nIn per cent, each expression once, in pixels of the original images.'
        )
    else:
        parts.append('## Figures\n\nNone were given when the weights were published.')
    told = {
        'weights': metadata.get('weights'),
        'command': f'`{metadata["command"]}`' if 'command' in metadata else None,
        'seed': metadata.get('seed'),
        'words of the training text': str(len(metadata['words'].split())) if 'words' in metadata else None,
        'made by': f'mmuniqrnet {metadata["mmuniqrnet_version"]}',
    }
    lines = [f'- {what}: {value if value is not None else "not known"}' for what, value in told.items()]
    parts.append('## How it was trained\n\n' + '\n'.join(lines))
    parts.append(f'## Config\n\n```python\n{metadata["config"].strip()}\n```')
    return '\n\n'.join(parts) + '\n'


def check_repo(repo: str) -> None:
    """Check that this is ``ORG/NAME``.

    Raises:
        UserError: It is not.
    """
    address = parse_address(f'hf://{repo}')
    if address.repo != repo:
        raise UserError(f'--push {repo}: give ORG/NAME.')
