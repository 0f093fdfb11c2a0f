from mmcv.transforms import LoadImageFromFile

from mmuniqrnet.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadImageOnce(LoadImageFromFile):
    """mmcv's ``LoadImageFromFile``, which keeps the last image, so that the next expression on it needs no decoding.

    With ``SameImageSampler``, which puts the expressions of an image in a row. Each worker keeps an image of its own.

    Args:
        to_float32, color_type, imdecode_backend, file_client_args, ignore_empty, backend_args: As in
            ``LoadImageFromFile``; give ``color_type='color_ignore_orientation'``, since annotations refer to the
            stored pixels.
    """

    _path: str | None = None
    _image = None

    def transform(self, results: dict) -> dict | None:
        """Needs ``img_path``; adds ``img`` (the caller's own copy), ``img_shape`` and ``ori_shape``."""
        if results['img_path'] != self._path:
            loaded = super().transform(results)
            if loaded is None:
                return None
            self._path, self._image = results['img_path'], loaded['img']
        results['img'] = self._image.copy()
        results['img_shape'] = results['ori_shape'] = self._image.shape[:2]
        return results
