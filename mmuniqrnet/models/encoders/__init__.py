from .visual_linguistic_encoder import EncoderOutput, VisualLinguisticEncoder

__all__ = ['EncoderOutput', 'VisualLinguisticEncoder']
