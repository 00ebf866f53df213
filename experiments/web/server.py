"""Serves the page of experiments.demo, and what it asks of models as JSON: GET /, GET /models, POST /draw, /restore."""

import base64
import binascii
import errno
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from common.errors import ConfigError
from experiments.web.drawer import Drawer

PAGE = Path(__file__).with_name("page.html")
LONGEST = 2**25  # bytes of a request
LOCAL = ("127.0.0.1", "localhost")
_POLICY = (
  "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:; connect-src 'self'"
)


class Server(ThreadingHTTPServer):
  """A server of one page for a few models, which draw one request at a time.

  Args:
    host: address to listen at. At a local one, requests that name another host are refused, so that no page of another
      site reaches the models under a name of its own.
    port: 0 for any that is free.
    drawers: the models, in the order of the page.

  Raises:
    ConfigError: the address cannot be used.
  """

  daemon_threads = True

  def __init__(self, host: str, port: int, drawers: list[Drawer]):
    self.drawers, self.about = drawers, [drawer.about() for drawer in drawers]
    self.names = {*LOCAL, host} if host in LOCAL else None
    self.one_at_a_time = threading.Lock()
    try:
      super().__init__((host, port), _Handler)
    except OSError as error:
      way_out = "--port=0 finds a free one" if error.errno == errno.EADDRINUSE else "take --host=127.0.0.1 --port=0"
      raise ConfigError(f"--host={host} --port={port} cannot be used ({error.strerror or error}); {way_out}") from None


class _Handler(BaseHTTPRequestHandler):
  server: Server
  protocol_version = "HTTP/1.1"

  def do_GET(self) -> None:
    if not self._is_for_us():
      return
    if self.path == "/":
      self._answer(200, "text/html; charset=utf-8", PAGE.read_bytes())
    elif self.path == "/models":
      self._answer_json(200, self.server.about)
    else:
      self._answer_json(404, {"error": f"{self.path} is not here; the page is at /"})

  def do_POST(self) -> None:
    if not self._is_for_us():
      return
    answer: dict[str, Any]
    try:
      request = self._request()
      drawer = self.server.drawers[request.pop("model", 0)]
      if self.path == "/restore":
        request = {name: _decoded(value) if name in ("file", "mask") else value for name, value in request.items()}
      with self.server.one_at_a_time:
        drawn = {"/draw": drawer.draw, "/restore": drawer.restore}[self.path](**request)
      code, answer = 200, {"pictures": drawn}
    except ConfigError as error:
      code, answer = 400, {"error": str(error)}
    except (KeyError, IndexError, TypeError, ValueError) as error:
      code, answer = 400, {"error": f"not a request of this page ({type(error).__name__}: {error})"}
    self._answer_json(code, answer)

  def _is_for_us(self) -> bool:
    """Whether the request names this host; answers it if not."""
    name = self.headers.get("Host", "").partition(":")[0]
    if self.server.names is None or name in self.server.names:
      return True
    self._answer_json(403, {"error": f"this server is for {', '.join(sorted(self.server.names))}"})
    return False

  def _request(self) -> dict[str, Any]:
    length = int(self.headers.get("Content-Length", 0))
    if length > LONGEST:
      self.close_connection = True  # what was sent is not read
      raise ConfigError(
        f"the request has {length:,} bytes, and the page takes {LONGEST:,}; experiments.restore takes any"
      )
    body = self.rfile.read(length)
    if self.headers.get_content_type() != "application/json":  # a form of another site cannot send this type
      raise ConfigError("a request has the type application/json")
    request = json.loads(body)
    if not isinstance(request, dict):
      raise ValueError("an object is missing")
    return request

  def _answer_json(self, code: int, answer: Any) -> None:
    self._answer(code, "application/json", json.dumps(answer).encode())

  def _answer(self, code: int, kind: str, content: bytes) -> None:
    self.send_response(code)
    self.send_header("Content-Type", kind)
    self.send_header("Content-Length", str(len(content)))
    self.send_header("Content-Security-Policy", _POLICY)
    self.send_header("Cache-Control", "no-store")
    self.end_headers()
    self.wfile.write(content)

  def log_message(self, format: str, *args: Any) -> None:
    """Prints nothing: the page shows errors."""


def _decoded(text: Any) -> bytes | None:
  try:
    return None if text is None else base64.b64decode(text, validate=True)
  except binascii.Error as error:
    raise ValueError(f"no base64: {error}") from None
