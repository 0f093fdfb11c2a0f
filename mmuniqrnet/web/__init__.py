"""The web page: ask a picture, see the answers, take them along (``mmuniqrnet web``, ``python -m mmuniqrnet.web``).

``command`` starts it and ``page`` wires it up; all else is plain functions that know nothing of Gradio.
"""

from .command import main

__all__ = ['main']
