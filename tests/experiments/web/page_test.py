"""The page in a headless Chromium, by the WebDriver protocol (W3C 2018): a person clicks, types, paints and sees."""

import base64
import io
import json
import shutil
import subprocess
import threading
import time
import urllib.request

import numpy as np
import pytest
from PIL import Image

from common.data.images import png
from experiments.web.drawer import Drawer
from experiments.web.server import Server
from tests.experiments.runs import free_port
from tests.experiments.web.conftest import CAPTIONS, HOLES, NOISE

BINARIES = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
pytestmark = pytest.mark.skipif(not all(BINARIES.values()), reason="needs Debian's chromium and chromium-driver")
_FLAGS = "--headless --window-size=1000,1200 --no-sandbox --disable-gpu --disable-background-networking --disable-sync"


class Browser:
  """One page in Chromium, driven through chromedriver at ``port``."""

  def __init__(self, port: int):
    self._root = f"http://127.0.0.1:{port}"
    options = {"binary": BINARIES["chromium"], "args": _FLAGS.split()}
    capabilities = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
    self._session = f"/session/{self._ask('/session', capabilities)['sessionId']}"

  def _ask(self, path, body=None, method="POST"):
    request = urllib.request.Request(
      self._root + path, None if body is None else json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    request.method = method
    with urllib.request.urlopen(request, timeout=60) as answer:
      return json.load(answer)["value"]

  def open(self, url):
    self._ask(f"{self._session}/url", {"url": url})

  def js(self, script):
    return self._ask(f"{self._session}/execute/sync", {"script": script, "args": []})

  def _element(self, css):
    [element] = self._ask(f"{self._session}/element", {"using": "css selector", "value": css}).values()
    return f"{self._session}/element/{element}"

  def click(self, css):
    self._ask(f"{self._element(css)}/click", {})

  def type(self, css, text):
    self._ask(f"{self._element(css)}/value", {"text": text})

  def press(self, css):
    """Moves the mouse to the middle of an element, and presses its left button there."""
    [(name, element)] = self._ask(f"{self._session}/element", {"using": "css selector", "value": css}).items()
    moves = [
      {"type": "pointerMove", "x": 0, "y": 0, "origin": {name: element}},
      {"type": "pointerDown", "button": 0},
      {"type": "pointerUp", "button": 0},
    ]
    self._ask(f"{self._session}/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": moves}]})

  def until(self, script, seconds=120):
    """Waits until ``script`` returns something true, and returns it."""
    end = time.monotonic() + seconds
    while not (found := self.js(script)):
      assert time.monotonic() < end, f"{script}: not within {seconds} s; {self.js('return document.body.innerText')}"
      time.sleep(0.1)
    return found

  def close(self):
    self._ask(self._session, method="DELETE")


@pytest.fixture(scope="module")
def page(workdirs):
  with Server("127.0.0.1", 0, [Drawer(workdir) for workdir in workdirs]) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = free_port()
    driver = subprocess.Popen([BINARIES["chromedriver"], f"--port={port}"], stdout=subprocess.PIPE, text=True)
    try:
      while "successfully" not in driver.stdout.readline():
        assert driver.poll() is None, "chromedriver ended"
      browser = Browser(port)
      browser.open(f"http://127.0.0.1:{server.server_port}/")
      browser.until("return document.querySelectorAll('[name=model] option').length === 4")
      yield browser
      browser.close()
    finally:
      driver.kill()
      driver.communicate()
      server.shutdown()


def drawn(page, count):
  page.until(f"return document.querySelectorAll('figure img').length === {count}")
  page.until("return [...document.querySelectorAll('figure img')].every(image => image.naturalWidth)")
  return page.js("return [...document.querySelectorAll('figure img')].map(image => image.src)")


def choose(page, number):
  page.js(f"const s = document.querySelector('[name=model]'); s.value = {number}; s.dispatchEvent(new Event('change'))")


def test_a_caption_is_drawn_and_an_unknown_word_explained(page):
  choose(page, CAPTIONS)
  page.type("[name=text]", "woman pil")
  assert page.js("return [...document.querySelectorAll('#words option')].map(o => o.value)") == ["woman pilot"]
  page.click("[name=go]")
  assert 'did you mean "pilot"' in page.until("return document.querySelector('#status.error')?.textContent")
  page.type("[name=text]", "ot")
  page.click("[name=go]")
  first = drawn(page, 16)
  assert not page.js("return document.getElementById('status').textContent")
  assert first == drawn(page, 16) and len(set(first)) > 1


def test_the_next_seed_draws_others_beside_the_nearest_training_pictures(page):
  choose(page, NOISE)
  page.click("[name=go]")
  first = drawn(page, 16)
  page.click("[name=nearest]")
  page.click("[name=more]")
  both = drawn(page, 32)
  assert not set(first) & set(both[::2])
  assert page.js("return document.querySelectorAll('figcaption').length") == 16


def test_a_painted_hole_is_filled(page, tmp_path):
  choose(page, HOLES)
  assert page.js("return document.getElementById('canvas').hidden")
  picture = np.random.default_rng(0).integers(0, 256, (28, 28, 1), dtype=np.uint8)
  (tmp_path / "mine.png").write_bytes(png(picture))
  page.click("[name=go]")
  page.until("return document.getElementById('status').textContent === 'Choose a picture first.'")
  page.type("[name=file]", str(tmp_path / "mine.png"))
  page.until("return !document.getElementById('canvas').hidden")
  page.press("#canvas")
  page.click("[name=go]")
  [restored] = drawn(page, 1)
  pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(restored.partition(",")[2]))))
  changed = pixels != picture[..., 0]
  assert changed[12:16, 12:16].any() and not changed[:5].any() and not changed[-5:].any()
