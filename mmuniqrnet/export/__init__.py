"""A trained network for other runtimes: ONNX and torch.export, and a predictor that needs neither torch nor mm*."""
