"""The page's components and what happens on their events."""

import html
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from mmuniqrnet.apis.outputs import refuse
from mmuniqrnet.datasets.refshapes.scene_file import write_scene
from mmuniqrnet.datasets.refshapes.writer import draw_scene
from mmuniqrnet.serving.uploads import PAGE_LIMITS, read_upload
from mmuniqrnet.utils.errors import sentence_of

from .asking import ask, gates_of, phrases_of, reading_notes
from .results import (
    COLOURS,
    HEADERS,
    fit,
    gate_pictures,
    labels_of,
    opacity_of,
    table_rows,
    write_files,
)

if TYPE_CHECKING:
    from mmuniqrnet.apis import UniQRNetInferencer

# No data set is made with this seed.
EXAMPLE_SEED, EXAMPLES = 20240, 5
NO_GATES = -1
START = 'Choose a picture, type phrases, press Find.'


@dataclass(frozen=True)
class Answers:
    """What one visitor has asked last.

    Attributes:
        picture: RGB uint8 [H, W, 3].
        predictions: The inferencer's dictionaries, one a phrase, none refused.
        notes: What the model did not read of each phrase.
        model: The name of the model.
    """

    picture: np.ndarray
    predictions: list[dict[str, Any]]
    notes: list[list[str]]
    model: str

    @property
    def labels(self) -> list[str]:
        return labels_of([prediction['expression'] for prediction in self.predictions])


class Page:
    """The page.

    Args:
        inferencer: The model; it answers one question at a time.
        folder: An existing temporary folder, for all files; the caller removes it.
        about: The model, in words.
        keep: Pictures and answers are removed after so many seconds.
    """

    def __init__(self, inferencer: 'UniQRNetInferencer', folder: Path, about: str, keep: int = 3600) -> None:
        self.inferencer = inferencer
        self.folder = folder
        self.examples = self._examples()
        self.blocks = self._build(about, keep)

    def _build(self, about: str, keep: int) -> gr.Blocks:
        with gr.Blocks(
            title='mmuniqrnet', analytics_enabled=False, fill_width=True, delete_cache=(max(1, keep // 4), keep)
        ) as blocks:
            gr.Markdown(
                f'# mmuniqrnet\nAsk for objects in a picture: each phrase gives a box and a mask. Model: {about}.'
            )
            with gr.Row():
                with gr.Column(scale=2):
                    picture = gr.Image(
                        label='Picture', type='filepath', sources=['upload', 'clipboard'], height=300, elem_id='picture'
                    )
                    # Gradio would open any file here, with an error of its own; uploads.py checks it first. A subclass
                    # would do, but Gradio writes a .pyi file beside the module of every subclass.
                    picture.preprocess = lambda payload: payload and (payload.path, payload.orig_name)
                    phrases = gr.Textbox(
                        label='Phrases, one a line',
                        lines=4,
                        max_lines=8,
                        placeholder='person on the left\nthe biggest dog',
                        elem_id='phrases',
                    )
                    below = gr.Slider(
                        0,
                        1,
                        value=self.inferencer.refuse_below or 0,
                        step=0.05,
                        label='Refuse below',
                        info='Answers with a lower score are not shown.',
                        elem_id='below',
                    )
                    find = gr.Button('Find', variant='primary', elem_id='find')
                    # gr.Examples would replace the picture component, and its preprocess, for this visitor
                    scenes = gr.Dataset(
                        components=[picture],
                        samples=[[path] for path, _ in self.examples],
                        type='index',
                        label='Examples, with phrases',
                        elem_id='examples',
                    )
                    gr.Markdown(
                        f'PNG, JPEG or WebP, {PAGE_LIMITS}. Pictures stay on the machine that runs this page, in a '
                        'temporary folder; they are removed after about an hour, and when the page is stopped.'
                    )
                with gr.Column(scale=3):
                    status = gr.Markdown(START, min_height=56, container=True, elem_id='status')
                    with gr.Column(visible=False) as results:
                        drawn = gr.AnnotatedImage(label='Answers', format='png', height=560, elem_id='drawn')
                        table = gr.Dataframe(
                            headers=list(HEADERS),
                            datatype='str',
                            label='Answers. Boxes are in pixels of the picture, masks in percent of it; the score is '
                            'the IoU with the right box that the model expects.',
                            interactive=False,
                            wrap=True,
                            column_widths=[40, 200, 120, 80, 140, 80],
                            buttons=[],
                            elem_id='table',
                        )
                        everything = gr.DownloadButton('Download all files as a zip', elem_id='everything')
                        with gr.Accordion('The files one by one', open=False, elem_id='files'):
                            files = gr.File(label='Files', file_count='multiple', interactive=False)
                        gate_phrase = gr.Radio(
                            label='Show gates for',
                            info="How much each gate lets pass at each place: from blue, that gate's lowest value, to "
                            'yellow, its highest.',
                            elem_id='gate-phrase',
                        )
                        gates = gr.Gallery(
                            label='Gates',
                            columns=2,
                            height='max-content',  # 'auto' cuts it off at a share of the window's height
                            object_fit='contain',
                            format='png',
                            visible=False,
                            elem_id='gates',
                        )
            answers = gr.State(time_to_live=keep)

            model = dict(concurrency_id='model', concurrency_limit=1, api_visibility='private')
            shown = [drawn, table, everything, files]
            gr.on(
                [find.click, phrases.submit],
                self.find,
                [picture, phrases, below],
                [status, results, *shown, gate_phrase, gates, answers],
                **model,
            )
            below.change(
                self.show,
                [answers, below],
                shown,
                trigger_mode='always_last',
                show_progress='hidden',
                api_visibility='private',
            )
            gate_phrase.input(self.show_gates, [answers, gate_phrase], gates, **model)
            quick = dict(queue=False, show_progress='hidden', api_visibility='private')
            scenes.click(self.examples.__getitem__, scenes, [picture, phrases], **quick)
            picture.change(self.clear, None, [status, results, answers], **quick)
        return blocks

    def _examples(self) -> list[list[str]]:
        """Scenes of RefShapes that no training has seen, with a phrase for every object."""
        examples = []
        for number in range(1, EXAMPLES + 1):
            scene, _, described = draw_scene(EXAMPLE_SEED, 'val', number)
            path = self.folder / f'scene_{number}.png'
            write_scene(path, scene)
            phrases = [expression.raw for expressions in described for expression in expressions]
            examples.append([str(path), '\n'.join(phrases)])
        return examples

    def find(self, picture: tuple[str, str | None] | None, text: str, below: float) -> tuple:
        """Ask, and show the answers.

        Raises:
            gr.Error: What is wrong, in one sentence.
        """
        start = time.perf_counter()
        try:
            path, original = picture or (None, None)
            name = Path(original or path).name if path else ''
            pixels, phrases = read_upload(path, name), phrases_of(text)
            model = self.inferencer.for_image(path)
            shown_name = Path(model.name).name  # visitors need not see the folders of the server
            predictions = [
                dict(one, model=shown_name) if 'model' in one else one for one in ask(model, pixels, name, phrases)
            ]
            answers = Answers(pixels, predictions, [reading_notes(model, phrase) for phrase in phrases], model.name)
            shown = self.show(answers, below)
        except Exception as error:
            raise _as_shown(error) from error
        count, seconds = len(phrases), time.perf_counter() - start
        status = f'{count} phrase{"s" if count > 1 else ""} asked in {seconds:.1f} s; the model is `{shown_name}`.'
        if any(answers.notes):
            gr.Warning('The model did not understand everything: see the answers in the table.')
        choices = [('none', NO_GATES), *((label, index) for index, label in enumerate(answers.labels))]
        hidden = gr.update(visible=False)
        return status, gr.update(visible=True), *shown, gr.update(choices=choices, value=NO_GATES), hidden, answers

    def show(self, answers: Answers | None, below: float) -> tuple:
        """Picture, table and files of the answers, with those below the threshold refused."""
        if answers is None:
            return (gr.skip(),) * 4
        predictions = refuse(answers.predictions, below)
        shown = fit(answers.picture)
        opacities = [opacity_of(prediction, *shown.shape[:2]) for prediction in predictions]
        annotations = [pair for pair in zip(opacities, answers.labels) if pair[0] is not None]
        everything, *files = write_files(
            Path(tempfile.mkdtemp(dir=self.folder)),
            predictions,
            shown,
            opacities,
            self.inferencer.named(answers.model).made_for,
        )
        return (
            gr.update(value=(shown, annotations), color_map=dict(zip(answers.labels, COLOURS))),
            table_rows(predictions, below, answers.notes),
            str(everything),
            [str(file) for file in files],
        )

    def show_gates(self, answers: Answers | None, index: int) -> Any:
        """The heat maps of the gates for one phrase.

        Raises:
            gr.Error: The model has none.
        """
        if answers is None or index == NO_GATES:
            return gr.update(value=None, visible=False)
        try:
            gates = gates_of(
                self.inferencer.named(answers.model), answers.picture, answers.predictions[index]['expression']
            )
        except Exception as error:
            raise _as_shown(error) from error
        return gr.update(value=gate_pictures(answers.picture, gates), visible=True)

    @staticmethod
    def clear() -> tuple:
        """Answers belong to a picture, so they go with it."""
        return START, gr.update(visible=False), None


def _as_shown(error: Exception) -> gr.Error:
    """What the visitor can fix; for any other error, its trace goes to the terminal."""
    sentence = sentence_of(error)
    if sentence is None:
        traceback.print_exception(error)
        sentence = f'Internal error ({type(error).__name__}); the terminal that runs this page says more.'
    # Gradio takes the message for HTML, and names of files and phrases are part of it.
    return gr.Error(html.escape(sentence), duration=None, print_exception=False)
