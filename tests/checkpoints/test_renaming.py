import pytest

from mmuniqrnet.checkpoints.qrnet import QRNET
from mmuniqrnet.checkpoints.renaming import Renaming

TABLE = Renaming([('a.{i}.proj.*', 'b.{i}.projection.*'), ('norm{i}.*', 'norm{i}.*'), ('x.{i}.y.{j}', '{j}.{i}')])


@pytest.mark.parametrize(
    'theirs, ours',
    [
        ('a.3.proj.weight', 'b.3.projection.weight'),
        ('a.12.proj.x.y', 'b.12.projection.x.y'),
        ('norm0.bias', 'norm0.bias'),
        ('x.1.y.22', '22.1'),
    ],
)
def test_names_go_there_and_back(theirs, ours):
    assert TABLE.forward(theirs) == ours
    assert TABLE.backward(ours) == theirs


@pytest.mark.parametrize('name', ['a.3.proj', 'axx3.proj.weight', 'a.q.proj.weight', 'norm.weight', 'za.3.proj.w'])
def test_what_the_table_does_not_know_is_none(name):
    assert TABLE.forward(name) is None


@pytest.mark.parametrize(
    'published, ours',
    [
        ('visumodel.backbone.patch_embed.proj.weight', 'backbone.patch_embed.projection.weight'),
        ('visumodel.backbone.layers.2.blocks.17.attn.qkv.bias', 'backbone.stages.2.blocks.17.attn.w_msa.qkv.bias'),
        ('visumodel.backbone.layers.0.qdatt.ChannelGate.mlp.2.decoder.V', 'backbone.gates.0.channel.excite.V'),
        (
            'visumodel.backbone.layers.3.qdatt.SpatialGate.spatial.decoder.decoder.bias',
            'backbone.gates.3.spatial.score.decoder.bias',
        ),
        (
            'visumodel.neck.fpn_down.1.qdatt.ChannelGate.mlp.0.decoder.decoder.weight',
            'neck.gates.1.channel.squeeze.decoder.weight',
        ),
        ('visumodel.neck.lateral_convs.0.conv.weight', 'neck.lateral_convs.0.conv.weight'),
        ('textmodel.bert.encoder.layer.11.output.dense.bias', 'text_encoder.model.encoder.layer.11.output.dense.bias'),
        ('vl_transformer.encoder.layers.5.self_attn.in_proj_weight', 'head.encoder.layers.5.self_attn.in_proj_weight'),
        ('vl_pos_embed.weight', 'head.encoder.position.weight'),
        ('bbox_embed.layers.2.weight', 'head.box_branch.mlp.layers.2.weight'),
    ],
)
def test_published_names(published, ours):
    assert QRNET.forward(published) == ours
    assert QRNET.backward(ours) == published
