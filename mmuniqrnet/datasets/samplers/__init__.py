from .same_image_sampler import SameImageSampler

__all__ = ['SameImageSampler']
