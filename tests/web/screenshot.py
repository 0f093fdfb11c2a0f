"""The page's picture in the docs:

PYTHONPATH=tests python tests/web/screenshot.py docs/images/web.png [options of the page]
"""

import sys
import tempfile
from pathlib import Path

from helpers.browser import browsing, serving
from PIL import Image

EXAMPLE = 2
MAX_BYTES = 400_000


def main(target: Path, *options: str) -> None:
    with (
        tempfile.TemporaryDirectory() as downloads,
        serving(*options) as served,
        browsing(served.url, Path(downloads), width=1280) as visit,
    ):
        visit.all('#examples button')[EXAMPLE].click()
        visit.until(visit.picture_shown)
        print(visit.find())
        print(*visit.rows(), sep='\n')
        visit.all('#gate-phrase input')[1].click()
        visit.until(lambda: visit.all('#gates img'))
        visit.driver.execute_script('window.scrollTo(0, 0)')
        visit.screenshot(target)
    if target.stat().st_size > MAX_BYTES:
        with Image.open(target) as picture:
            fewer = picture.convert('RGB').quantize(256, kmeans=3, dither=Image.Dither.NONE)
        fewer.save(target, optimize=True)
    if target.stat().st_size > MAX_BYTES:
        sys.exit(f'error: {target} has {target.stat().st_size} bytes, more than {MAX_BYTES}.')
    print(f'written to {target}, {target.stat().st_size} bytes')


if __name__ == '__main__':
    main(Path(sys.argv[1]), *sys.argv[2:])
