from torch import nn

from mmuniqrnet.models import BoxBranch, QRNetSwin, QueryAwareFusion, VisualLinguisticEncoder


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_at_full_size_there_are_as_many_parameters_as_published():
    """Swin-S, 20 tokens, 640 pixels; all but the text model, without mask branch: the defaults of every part."""
    backbone = QRNetSwin()
    gates, plain = count(backbone.gates), count(backbone) - count(backbone.gates)
    del backbone
    neck = count(QueryAwareFusion())
    head = count(VisualLinguisticEncoder()) + count(BoxBranch())
    assert gates == 68_840_760
    assert neck == 37_144_744
    assert gates + plain + neck + head == 163_244_718
