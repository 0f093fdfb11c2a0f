"""The page's wiring in Gradio; what it shows and writes comes from the plain functions beside this file."""

import shutil
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr
import numpy as np

from mmuniqrnet.utils.errors import sentence_of

from .asking import Answers, ask, cut_phrases, gates_for, phrases_of, unknown_words
from .drawing import draw_answers, draw_gates
from .examples import write_examples
from .files import write_files
from .pictures import LIMITS, read_picture
from .text import answer_table, error_line, gate_figures, heading, status_line

if TYPE_CHECKING:
    from mmuniqrnet.apis import UniQRNetInferencer

PRIVACY = (
    f'PNG, JPEG or WebP, {LIMITS}. Pictures stay on the machine that runs this page, in a temporary folder; '
    'they are removed after an hour or so, and when the page is ended.'
)
START = '<p class="status">The answers come here: choose a picture, type phrases, press Find.</p>'
GATES = (
    "How far each gate lets each place through, under the phrase chosen: from blue, that gate's least value, to "
    'yellow, its greatest.'
)


@dataclass(frozen=True)
class Shown:
    """What one visitor sees, and the folder of its files."""

    answers: Answers
    folder: Path


class Page:
    """The page's handlers, which take and return what its components hold.

    Args:
        inferencer: Answers; one question at a time.
        folder: An existing temporary one, for all files; it is the caller's to remove.
        about: The model, in words.
    """

    def __init__(self, inferencer: 'UniQRNetInferencer', folder: Path, about: str) -> None:
        self.inferencer = inferencer
        self.about = about
        self.answers_folder = folder / 'answers'
        self.answers_folder.mkdir()
        scenes = folder / 'scenes'
        scenes.mkdir()
        self.examples = write_examples(scenes)

    def build(self, keep: int) -> gr.Blocks:
        """The page; it forgets pictures and answers ``keep`` seconds after they came."""
        with gr.Blocks(
            title='mmuniqrnet', analytics_enabled=False, fill_width=True, delete_cache=(keep // 4, keep)
        ) as page:
            gr.HTML(heading(self.about))
            with gr.Row():
                with gr.Column(scale=4):
                    picture = gr.Image(
                        label='Picture',
                        type='filepath',
                        image_mode=None,
                        sources=['upload', 'clipboard'],
                        height=300,
                        buttons=[],
                        elem_id='picture',
                    )
                    # The path as uploaded: gradio would decode it here, whatever its size, and show its own error.
                    picture.preprocess = lambda payload: payload and (payload.path, payload.orig_name)
                    gr.HTML('<p class="caption">Or choose an example, with phrases:</p>')
                    scenes = gr.Gallery(
                        [str(example.path) for example in self.examples],
                        show_label=False,
                        columns=len(self.examples),
                        allow_preview=False,
                        object_fit='contain',
                        buttons=[],
                        format='png',
                        elem_id='examples',
                    )
                    phrases = gr.Textbox(
                        label='Phrases, one a line',
                        lines=4,
                        max_lines=8,
                        elem_id='phrases',
                        placeholder='the red circle\nlargest shape',
                    )
                    below = gr.Slider(
                        0,
                        1,
                        value=self.inferencer.refuse_below or 0,
                        step=0.05,
                        label='Refuse below',
                        info='Answers with a lower score are not drawn.',
                        elem_id='below',
                    )
                    find = gr.Button('Find', variant='primary', elem_id='find')
                    gr.HTML(f'<p class="note">{PRIVACY}</p>')
                with gr.Column(scale=6):
                    status = gr.HTML(START, elem_id='status')
                    with gr.Column(visible=False) as results:
                        drawn = gr.Image(
                            label='Answers',
                            interactive=False,
                            format='png',
                            buttons=['download', 'fullscreen'],
                            elem_id='drawn',
                        )
                        table = gr.HTML(elem_id='table')
                        everything = gr.DownloadButton(
                            'Download all: masks, predictions.json and this picture, as a zip',
                            size='md',
                            elem_id='everything',
                        )
            with gr.Column(visible=False) as gate_panel:
                gates_on = gr.Checkbox(label='Show gates', info=GATES, elem_id='gates-on')
                gate_phrase = gr.Radio(label='Gates of which phrase?', visible=False, elem_id='gate-phrase')
                gates = gr.HTML(elem_id='gates')
            shown = gr.State(time_to_live=keep, delete_callback=self.forget)

            model = dict(concurrency_id='model', concurrency_limit=1, api_visibility='private')
            quick = dict(queue=False, show_progress='hidden', api_visibility='private')
            everywhere = [status, results, drawn, table, everything, gate_panel, shown]
            gate_inputs, gate_outputs = [shown, gates_on, gate_phrase], [gate_phrase, gates]
            for ask_event in (find.click, phrases.submit):
                ask_event(self.find, [picture, phrases, below, shown], [*everywhere, gate_phrase], **model).then(
                    self.gates, gate_inputs, gate_outputs, **model
                )
            below.change(
                self.refuse,
                [shown, below],
                [drawn, table, everything, shown],
                trigger_mode='always_last',
                show_progress='hidden',
                api_visibility='private',
            )
            for gate_event in (gates_on.input, gate_phrase.input):
                gate_event(self.gates, gate_inputs, gate_outputs, **model)
            picture.change(self.clear, [shown], everywhere, **quick)
            scenes.select(self.choose, None, [picture, phrases], **quick)
        return page

    def choose(self, event: gr.SelectData) -> tuple[str, str]:
        example = self.examples[event.index]
        return str(example.path), '\n'.join(example.phrases)

    def find(self, picture: tuple[str, str | None] | None, text: str, below: float, shown: Shown | None) -> tuple:
        """The answers, or one sentence that says why there are none."""
        start = time.perf_counter()
        try:
            path, original = picture or (None, None)
            name = Path(original or path).name if path else ''
            pixels, phrases = read_picture(path, name), phrases_of(text)
            answers = ask(self.inferencer, pixels, name, phrases)
            *parts, new = self._present(answers, below)
            line = status_line(
                len(phrases),
                name,
                time.perf_counter() - start,
                unknown_words(self.inferencer, phrases),
                cut_phrases(self.inferencer, phrases),
            )
        except Exception as error:
            return *self.clear(shown, error_line(_sentence(error))), gr.skip()
        self.forget(shown)
        choices = [(f'{number}  {phrase}', number - 1) for number, phrase in enumerate(phrases, 1)]
        visible = gr.update(visible=True)
        return line, visible, *parts, visible, new, gr.update(choices=choices, value=0)

    def refuse(self, shown: Shown | None, below: float) -> tuple:
        """The same answers under another threshold."""
        if shown is None:
            return (gr.skip(),) * 4
        parts = self._present(shown.answers, below)
        self.forget(shown)
        return parts

    def gates(self, shown: Shown | None, wanted: bool, phrase: int | None) -> tuple:
        """The choice of a phrase, and the heat maps of the one chosen, or a sentence where there are no gates."""
        if shown is None or not wanted:
            return gr.update(visible=False), ''
        answers = shown.answers
        try:
            gates = gates_for(self.inferencer, answers.picture, answers.predictions[phrase or 0]['expression'])
            figures = gate_figures(draw_gates(answers.picture, gates))
        except Exception as error:
            return gr.update(visible=False), error_line(_sentence(error))
        return gr.update(visible=True), figures

    def clear(self, shown: Shown | None, line: str = START) -> tuple:
        """Nothing but a line, at first what to do."""
        self.forget(shown)
        hidden = gr.update(visible=False)
        return line, hidden, None, '', None, hidden, None

    @staticmethod
    def forget(shown: Shown | None) -> None:
        if shown is not None:
            shutil.rmtree(shown.folder, ignore_errors=True)

    def _present(self, answers: Answers, below: float) -> tuple[np.ndarray, str, str, Shown]:
        """Picture, table and zip."""
        predictions = answers.refusing(below)
        picture = draw_answers(answers.picture, predictions)
        folder = Path(tempfile.mkdtemp(dir=self.answers_folder))
        files = write_files(folder, answers.name, predictions, picture)
        table = answer_table(predictions, below, files.masks)
        return picture, table, str(files.everything), Shown(answers, folder)


def _sentence(error: Exception) -> str:
    """What the user can mend, or that it is not theirs to mend, with the trace in the terminal."""
    sentence = sentence_of(error)
    if sentence is None:
        traceback.print_exception(error)
        return f'That went wrong inside ({type(error).__name__}); the terminal that runs this page says more.'
    return sentence
