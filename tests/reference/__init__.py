"""QRNet as its paper and its published code describe it, in plain torch: what the package's modules are compared with.

A direct transcription of the formulas, for the tests and as a baseline for timings. It imports nothing of the package
and nothing of OpenMMLab, it has the parameter names of a published checkpoint, and it always computes what the
published modules compute in evaluation mode: there is no dropout and no stochastic depth.

Notation: B batch, N tokens, C channels, D width of the text features, L text tokens, k rank of the dynamic layers.
"""
