"""A transform at which the process ends, as a library for images does that has a defect, or as the kernel ends it."""

import os
import signal

from mmengine.registry import TRANSFORMS


@TRANSFORMS.register_module()
class EndProcess:
    """Ends the process at an image whose path contains ``name``."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, results: dict) -> dict:
        if self.name in results['img_path']:
            os.kill(os.getpid(), signal.SIGKILL)
        return results
