"""Writes a trained classifier to one file, for --features=classifier:FILE.safetensors of experiments.evaluate:
python -m experiments.export_classifier --workdir=runs/classifier --out=fashion_mnist.safetensors
"""

from pathlib import Path

from absl import flags

from common.errors import ConfigError
from experiments.command_line import flags as command_line

FLAGS = flags.FLAGS


def define_flags() -> None:
  flags.DEFINE_string("workdir", "", "directory of a run of the classifier")
  flags.DEFINE_string("checkpoint", "best", "best, last, or the number of a step")
  flags.DEFINE_string("out", "", "the file to write, NAME.safetensors; scores will carry NAME")
  flags.DEFINE_string("data_dir", "", "where the data set lies now; empty for where it was in training")


def main() -> int:
  command_line.required("workdir")
  command_line.required("out")
  out = Path(FLAGS.out)
  command_line.check_out(out, ".safetensors")

  from common import parallel
  from common.evaluation.features import classifier_file
  from common.evaluation.features.classifier import Classifier
  from common.evaluation.features.extractor import sha8
  from common.evaluation.validation import Evaluator
  from common.training.log import Status
  from experiments.command_line import compilation_cache
  from experiments.loading import load_run, open_data

  status = Status(enabled=True)
  compilation_cache.start(status)
  mesh = parallel.make_mesh()
  run = load_run(Path(FLAGS.workdir), FLAGS.checkpoint, mesh)
  if not isinstance(run.algorithm, Classifier):
    raise ConfigError(f"--workdir={FLAGS.workdir} holds a {run.config.family}, not a classifier")
  _, dataset = open_data(run, FLAGS.workdir, FLAGS.data_dir)
  evaluator = Evaluator(run.algorithm, run.spec, run.config, mesh)
  with status.phase("measuring its test accuracy"):
    accuracy = evaluator(run.state, evaluator.feed(dataset.test))["accuracy"]
  variables = parallel.to_host(run.state.net.variables(ema=True))
  classifier_file.save(out, variables, run.config.model.to_dict(), run.config.data.name, run.spec, accuracy)
  print(f"{out}  (step {run.step:,}, sha {sha8(variables)}, test accuracy {accuracy:.4f})")
  return 0


if __name__ == "__main__":
  command_line.run(main, __doc__, define_flags)
