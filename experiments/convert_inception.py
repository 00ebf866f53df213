"""Writes the published weights of InceptionV3, once, to a file for --features=inception of experiments.evaluate:
python -m experiments.convert_inception --weights=weights-inception-2015-12-05-6726825d.pth

That file is of release v0.2.0 of torch-fidelity; pt_inception-2015-12-05-6726825d.pth, of release fid_weights of
pytorch-fid, is the same. It is read without PyTorch, and refused where it holds anything but the tensors expected.
"""

from pathlib import Path

from absl import flags

from common.errors import ConfigError
from experiments.command_line import flags as command_line

FLAGS = flags.FLAGS


def define_flags() -> None:
  flags.DEFINE_string("weights", "", "the .pth file")
  flags.DEFINE_string(
    "out",
    "",
    "the .safetensors file to write; empty for jax-image-generation in $XDG_CACHE_HOME or ~/.cache",
  )
  flags.DEFINE_bool("other_weights", False, "take weights of the same network that are not the published ones")


def main() -> int:
  command_line.required("weights")
  from experiments.command_line.compilation_cache import user_cache

  if FLAGS.out and Path(FLAGS.out).suffix != ".safetensors":
    raise ConfigError(f"--out={FLAGS.out} must end in .safetensors")

  from common.evaluation.features import inception_weights

  out = Path(FLAGS.out) if FLAGS.out else user_cache() / inception_weights.FILE_NAME
  command_line.make_directory("out", out.parent)
  digest = inception_weights.convert(Path(FLAGS.weights), out, other_weights=FLAGS.other_weights)
  print(
    f"{out}  (from sha256 {digest}{'' if digest == inception_weights.PUBLISHED else ', not the published weights'})"
  )
  return 0


if __name__ == "__main__":
  command_line.run(main, __doc__, define_flags)
