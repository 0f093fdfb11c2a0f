"""Referring expressions from the boxes and categories of detection data: ``mmuniqrnet describe``.

Modules, lowest first: ``scene`` (objects of each picture), ``fits`` (sets of objects), ``places``, ``neighbours`` and
``colours`` (what can be said of objects, with margins), ``language`` (words and forms, from a data file), ``meanings``
(what an expression means, and which objects it fits), ``phrases`` (texts), ``choice``, ``nothing`` and ``plurals``
(which are written), ``records`` (lines of JSON, and the report).
"""
