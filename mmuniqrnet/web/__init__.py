"""The web page: ask about a picture, see the answers, download them (``mmuniqrnet web``, ``python -m mmuniqrnet.web``).

``command`` starts it, ``page`` has its components and their events; the other modules do not need Gradio.
"""

from .command import main

__all__ = ['main']
