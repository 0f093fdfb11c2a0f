"""The page in a real Chromium: starting both, and what a visitor does and sees."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlparse

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

WAIT = 60


class Served(NamedTuple):
    process: subprocess.Popen
    url: str
    temporary: Path


def chromium_there() -> bool:
    return bool((shutil.which('chromium') or shutil.which('google-chrome')) and shutil.which('chromedriver'))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


@contextmanager
def serving(*arguments: str, keep: int = 3600) -> Iterator[Served]:
    """``mmuniqrnet web`` with these arguments on a free port, its temporary folders in one of its own.

    Pictures and answers are removed after ``keep`` seconds.
    """
    code = f'from mmuniqrnet.web import command; command.KEEP = {keep}; command.main()'
    with tempfile.TemporaryDirectory(prefix='test-web-') as folder:
        port = free_port()
        process = subprocess.Popen(
            [sys.executable, '-c', code, '--port', str(port), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | dict(TMPDIR=folder, OMP_NUM_THREADS='1'),
        )
        try:
            said = []
            for line in process.stdout:
                said.append(line)
                if line.startswith('The page is at'):
                    break
            else:
                raise RuntimeError('the page did not start:\n' + ''.join(said))
            yield Served(process, f'http://127.0.0.1:{port}', Path(folder))
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(WAIT)
            process.stdout.close()


@contextmanager
def browsing(url: str, downloads: Path, width: int = 1200, height: int = 1400) -> Iterator['Visit']:
    """A headless Chromium that shows the page and saves to ``downloads``."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which('chromium') or shutil.which('google-chrome')
    for argument in (
        '--headless=new',
        '--no-sandbox',
        '--disable-dev-shm-usage',
        '--disable-gpu',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-quic',
        '--disable-sync',
        '--no-first-run',
        '--force-color-profile=srgb',
        f'--window-size={width},{height}',
    ):
        options.add_argument(argument)
    options.add_experimental_option('prefs', {'download.default_directory': str(downloads)})
    options.set_capability('goog:loggingPrefs', dict(performance='ALL', browser='ALL'))
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which('chromedriver')))
    try:
        visit = Visit(driver, downloads)
        visit.open(url)
        yield visit
    finally:
        driver.quit()


class Visit:
    """One visitor's view of the page."""

    def __init__(self, driver: webdriver.Chrome, downloads: Path) -> None:
        self.driver = driver
        self.downloads = downloads

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def until(self, condition: Callable[[], Any], seconds: float = WAIT) -> Any:
        """What ``condition`` gives as soon as it is true; elements that vanish meanwhile are looked for again."""
        wait = WebDriverWait(self.driver, seconds, 0.1, ignored_exceptions=[StaleElementReferenceException])
        return wait.until(lambda _: condition())

    def open(self, url: str) -> None:
        self.driver.get(url)
        self.until(lambda: self.all('#find') and self.all('#examples button'))

    def upload(self, path: Path) -> None:
        self.until(lambda: self.all('#picture input[type=file]'))[0].send_keys(str(path))

    def picture_shown(self) -> bool:
        return any('/file=' in (image.get_attribute('src') or '') for image in self.all('#picture img'))

    def type(self, text: str) -> None:
        field = self.one('#phrases textarea')
        field.clear()
        field.send_keys(text)

    def slide(self, selector: str, value: str) -> None:
        """Type a number beside a slider."""
        field = self.one(selector)
        field.send_keys(Keys.CONTROL, 'a')
        field.send_keys(value, Keys.TAB)

    def find(self) -> str:
        """Click; returns the status once it says that the phrases were asked."""
        self.until(lambda: self.picture_shown())
        self.one('#find').click()
        self.until(lambda: ' asked in ' in self.one('#status').text and self.all('#table .virtual-row'))
        return self.one('#status').text

    def error_after_find(self) -> str:
        """Click; returns the error that is shown then, and closes it."""
        self.one('#find').click()
        body = self.until(lambda: self.all('.toast-body.error'))[0]
        text = self.until(lambda: body.find_element(By.CSS_SELECTOR, '.toast-message-text').text)
        body.find_element(By.CSS_SELECTOR, '.toast-close').click()
        self.until(lambda: not self.all('.toast-body.error'))
        return text

    def rows(self) -> list[list[str]]:
        """The texts of the table's cells."""
        self.until(lambda: self.all('#table .virtual-row'))
        return [
            [cell.text for cell in row.find_elements(By.CSS_SELECTOR, '[role=gridcell]')]
            for row in self.all('#table .virtual-row')
        ]

    def gates(self, count: int) -> list[str]:
        """The captions of the heat maps, once there are ``count``."""
        self.until(lambda: len(self.all('#gates .thumbnail-item img')) == count)
        return [caption.text for caption in self.all('#gates .caption-label')]

    def downloaded(self, selector: str) -> Path:
        """Click a link or button that downloads; returns the file."""
        before = set(self.downloads.iterdir())
        self.until(lambda: self.all(selector))[0].click()
        return self.until(
            lambda: next(
                (
                    path
                    for path in set(self.downloads.iterdir()) - before
                    if path.suffix != '.crdownload' and not path.name.startswith('.')
                ),
                None,
            )
        )

    def hosts(self) -> set[str]:
        """Hosts that the page asked for anything, so far."""
        messages = [json.loads(entry['message'])['message'] for entry in self.driver.get_log('performance')]
        urls = [
            message['params']['request']['url']
            for message in messages
            if message['method'] == 'Network.requestWillBeSent'
        ]
        return {urlparse(url).hostname for url in urls if urlparse(url).scheme in ('http', 'https', 'ws', 'wss')}

    def screenshot(self, path: Path) -> None:
        """The whole page, as long as it is."""
        self.driver.execute_script('document.documentElement.style.scrollbarWidth = "none"')
        time.sleep(1)  # transitions
        height = self.driver.execute_script('return document.documentElement.scrollHeight') + 40
        self.driver.execute_cdp_cmd(
            'Emulation.setDeviceMetricsOverride',
            dict(
                width=self.driver.execute_script('return window.innerWidth'),
                height=height,
                deviceScaleFactor=1,
                mobile=False,
            ),
        )
        self.driver.execute_script('window.scrollTo(0, 0)')
        time.sleep(1)
        self.driver.save_screenshot(str(path))
