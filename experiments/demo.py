"""Shows trained models on a page in the browser: python -m experiments.demo --workdir=runs/demo/text,runs/demo/dcgan

The page draws from noise, of a class or of a caption, whatever the model is given, and shows the nearest training
picture beside each draw if asked to. A model that restores takes a picture from your disk; where it fills holes, you
paint them (common/restoration/weights has one that ships). Only this machine reaches the page, unless --host says
otherwise; Ctrl-C ends it.
"""

from pathlib import Path

from absl import flags

from common.errors import ConfigError
from experiments.command_line import flags as command_line

FLAGS = flags.FLAGS


def define_flags() -> None:
  flags.DEFINE_list("workdir", [], "directories of runs or of exported models, with commas")
  flags.DEFINE_string("checkpoint", "last", "last, best, or the number of a step")
  flags.DEFINE_string("prior", "", "workdir of a density of a VAE's latents, to draw from in the place of its prior")
  flags.DEFINE_string("host", "127.0.0.1", "address to listen at; 0.0.0.0 lets other machines in")
  flags.DEFINE_integer("port", 8000, "port to listen at; 0 for any that is free", lower_bound=0, upper_bound=65535)


def main() -> int:
  command_line.required("workdir")
  if FLAGS.prior and len(FLAGS.workdir) > 1:
    raise ConfigError(f"--prior={FLAGS.prior} belongs to one model; name one --workdir")

  from common.training.log import Status
  from experiments.command_line import compilation_cache
  from experiments.web.drawer import Drawer
  from experiments.web.server import Server

  status = Status(enabled=True)
  compilation_cache.start(status)
  with status.phase("loading the models"):
    drawers = [Drawer(Path(place), FLAGS.checkpoint, FLAGS.prior) for place in FLAGS.workdir]
    server = Server(FLAGS.host, FLAGS.port, drawers)
  for drawer in drawers:
    for note in drawer.notes:
      status.line(note)
  print(f"http://{FLAGS.host}:{server.server_port}/  (Ctrl-C ends it)", flush=True)
  try:
    server.serve_forever()
  except KeyboardInterrupt:
    print("ended")
  finally:
    server.server_close()
  return 0


if __name__ == "__main__":
  command_line.run(main, __doc__, define_flags)
