"""The page's server: what it answers, what it refuses, and that a draw is that of experiments.sample."""

import base64
import http.client
import io
import json
import threading

import numpy as np
import pytest
from PIL import Image

from common.data.images import png, to_uint8
from common.errors import ConfigError
from common.evaluation.pictures import open_reference, real
from experiments import api
from experiments.web.drawer import Drawer
from experiments.web.server import LONGEST, Server
from tests.experiments.dcgan_uses_test import untrained
from tests.experiments.runs import call, free_port
from tests.experiments.web.conftest import CAPTIONS, CLASSES, HOLES, NOISE


@pytest.fixture(scope="module")
def server(workdirs):
  with Server("127.0.0.1", 0, [Drawer(workdir) for workdir in workdirs]) as server:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()


def ask(server, method, path, request=None, **headers):
  """Returns the code and the answer; ``request`` is sent as JSON, unless it is bytes."""
  connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=120)
  body = request if isinstance(request, bytes | None) else json.dumps(request).encode()
  connection.request(method, path, body, {"Content-Type": "application/json"} | headers)
  answer = connection.getresponse()
  content = answer.read()
  connection.close()
  return answer.status, json.loads(content) if answer.getheader("Content-Type") == "application/json" else content


def draw(server, **request):
  code, answer = ask(server, "POST", "/draw", {"seed": 0, "num": 2} | request)
  return code, answer.get("error") or [pixels(one["png"]) for one in answer["pictures"]]


def pixels(url):
  kind, data = url.split(",", 1)
  assert kind == "data:image/png;base64"
  return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_the_page_and_what_it_offers(server):
  code, page = ask(server, "GET", "/")
  assert code == 200 and page.startswith(b"<!doctype html>")
  code, models = ask(server, "GET", "/models")
  assert code == 200 and [model["given"] for model in models] == ["", "label", "text", "seen"]
  assert models[CLASSES]["labels"] == [str(digit) for digit in range(10)] and models[NOISE]["labels"] == []
  assert "pilot" in models[CAPTIONS]["words"] and not [w for w in models[CAPTIONS]["words"] if w.startswith("<")]
  assert [model["mask"] for model in models] == [False, False, False, True]
  assert [model["most"] for model in models] == [64, 64, 64, 1]  # a regression has no latents
  assert ask(server, "GET", "/other")[0] == 404


@pytest.mark.parametrize(
  ("model", "request_", "options"),
  [
    (NOISE, {}, {}),
    (CLASSES, {"label": "3"}, {"labels": np.full(2, 3, np.int32)}),
    (CLASSES, {"label": ""}, {}),
    (CAPTIONS, {"text": "woman pilot"}, {"texts": ["woman pilot"] * 2}),
  ],
)
def test_a_draw_is_that_of_the_library(server, workdirs, model, request_, options):
  code, drawn = draw(server, model=model, seed=7, **request_)
  run = api.load(workdirs[model])
  expected = to_uint8(api.sample(run, 2, seed=7, **options).images, run.spec.pixel_range)
  assert code == 200
  np.testing.assert_array_equal(drawn, expected[..., 0] if expected.shape[-1] == 1 else expected)


def test_the_nearest_training_picture_is_one(server, workdirs):
  code, answer = ask(server, "POST", "/draw", {"model": NOISE, "seed": 0, "num": 3, "nearest": True})
  assert code == 200
  images = real(open_reference(api.load(workdirs[NOISE]).config.data), "train").images[..., 0].astype(np.float64)
  for one in answer["pictures"]:
    apart = np.sqrt(np.mean((images - pixels(one["png"])) ** 2, axis=(1, 2))) / 255
    assert one["difference"] == pytest.approx(apart.min(), abs=1e-3)
    np.testing.assert_array_equal(pixels(one["nearest"]), images[apart.argmin()])


def test_a_hole_is_filled_and_the_rest_stays(server):
  picture = np.random.default_rng(0).integers(0, 256, (28, 28, 1), dtype=np.uint8)
  hole = np.zeros((28, 28, 1), np.uint8)
  hole[10:14, 5:9] = 255
  files = {"file": base64.b64encode(png(picture)).decode(), "mask": base64.b64encode(png(hole)).decode()}
  code, answer = ask(server, "POST", "/restore", {"model": HOLES, "num": 1, **files})
  assert code == 200
  [restored] = [pixels(one["png"]) for one in answer["pictures"]]
  changed = restored != picture[..., 0]
  assert changed[10:14, 5:9].any() and not changed[hole[..., 0] == 0].any()


@pytest.mark.parametrize(
  ("path", "request_", "message"),
  [
    ("/draw", {"num": 65, "seed": 0}, "num=65 must be a whole number from 1 to 64"),
    ("/draw", {"num": 1, "seed": 1.5}, "seed=1.5 must be a whole number"),
    ("/draw", {"num": 1, "seed": 0, "model": CLASSES, "label": "10"}, '"10" is not one of 0, 1'),
    ("/draw", {"num": 1, "seed": 0, "model": CAPTIONS, "text": "piolt"}, 'did you mean "pilot"'),
    ("/draw", {"num": 1, "seed": 0, "model": HOLES}, "this model restores pictures"),
    ("/draw", {"num": 1, "seed": 0, "model": 9}, "not a request of this page"),
    ("/draw", {"num": 1, "seed": 0, "other": 9}, "not a request of this page"),
    ("/draw", b"no json", "not a request of this page"),
    ("/restore", {"model": NOISE, "file": ""}, "draws pictures and restores none"),
    ("/restore", {"model": HOLES, "file": "AAAA"}, "the picture is no picture"),
    ("/restore", {"model": HOLES, "file": "?"}, "no base64"),
    ("/restore", {"model": HOLES, "file": base64.b64encode(png(np.zeros((28, 28, 1), np.uint8))).decode()}, "mask"),
  ],
)
def test_mistake(server, path, request_, message):
  code, answer = ask(server, "POST", path, request_)
  assert code == 400 and message in answer["error"]


def test_pages_of_other_sites_reach_nothing(server):
  """Neither under a name of their own that leads here, nor by a form, whose type the browser does not ask about."""
  assert ask(server, "GET", "/models", Host=f"evil.example:{server.server_port}")[0] == 403
  assert ask(server, "POST", "/draw", {"seed": 0, "num": 1}, Host="evil.example")[0] == 403
  assert ask(server, "GET", "/models", Host="localhost")[0] == 200  # as at port 80, which goes without saying
  code, answer = ask(server, "POST", "/draw", {"seed": 0, "num": 1}, **{"Content-Type": "text/plain"})
  assert code == 400 and "application/json" in answer["error"]
  code, answer = ask(server, "POST", "/draw", b"", **{"Content-Length": str(LONGEST + 1)})
  assert code == 400 and "bytes" in answer["error"]


def test_a_port_in_use_and_models_that_cannot_be_shown(server, workdirs, tmp_path, capfd):
  port = server.server_port
  with pytest.raises(ConfigError, match=f"--port={port} cannot be used .*; --port=0 finds a free one"):
    Server("127.0.0.1", port, [])
  assert call("demo") == 2 and "--workdir=... is missing" in capfd.readouterr().err
  both = f"--workdir={workdirs[0]},{workdirs[1]}"
  assert call("demo", both, "--prior=x") == 2 and "--prior=x belongs to one model" in capfd.readouterr().err
  classifier = untrained(tmp_path / "c", "classifier:tiny", seed=1)
  assert call("demo", f"--workdir={classifier}", f"--port={free_port()}") == 2
  assert "makes no pictures" in capfd.readouterr().err
