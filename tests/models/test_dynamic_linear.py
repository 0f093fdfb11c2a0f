import torch

from mmuniqrnet.models.layers import DynamicLinear


def layer_with_values(in_features=5, out_features=3, text_dim=7, rank=4):
    torch.manual_seed(0)
    layer = DynamicLinear(in_features, out_features, text_dim, rank).double()
    layer.V.data.normal_()
    return layer


def test_it_equals_the_explicit_weight_and_bias_of_each_sample():
    layer = layer_with_values()
    x, sentence = torch.randn(2, 6, 5).double(), torch.randn(2, 7).double()
    out = layer(x, sentence)
    for b in range(2):
        numbers = layer.decoder.weight @ sentence[b] + layer.decoder.bias
        matrix = numbers.reshape(6, 4) @ layer.V  # rows 0..4 the weight, the last the bias
        assert torch.allclose(out[b], x[b] @ matrix[:5] + matrix[5])


def test_gradients_of_tokens_text_and_weights():
    layer = layer_with_values()
    x = torch.randn(2, 3, 5).double().requires_grad_()
    sentence = torch.randn(2, 7).double().requires_grad_()
    names, values = zip(*layer.named_parameters())

    def function(x, sentence, *values):
        return torch.func.functional_call(layer, dict(zip(names, values)), (x, sentence))

    assert torch.autograd.gradcheck(function, (x, sentence, *values))


def test_a_new_layer_is_zero_whatever_the_text():
    layer = DynamicLinear(5, 3, 7)
    assert layer.V.shape == (30, 3) and not layer(torch.randn(2, 6, 5), torch.randn(2, 7)).any()
    assert layer.decoder.out_features == 6 * 30


def test_each_sample_has_the_weights_of_its_own_text():
    layer = layer_with_values()
    x = torch.randn(1, 6, 5).double()
    sentences = torch.randn(2, 7).double()
    both = layer(x.expand(2, -1, -1), sentences)
    assert not torch.allclose(both[0], both[1])
    assert torch.allclose(both[1:], layer(x, sentences[1:]))
