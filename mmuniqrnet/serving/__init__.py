"""Answering requests of people who are not trusted: ``mmuniqrnet serve``, and what the web page shares with it.

``address``, ``uploads``, ``limits`` and ``models`` need no package beyond the stack's; the others are for the extra
``serve``. A request passes ``protocol`` (connections), ``app`` (paths and errors), ``reading`` (its body), ``batching``
(queue and worker thread) and ``models``.
"""
