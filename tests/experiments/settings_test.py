"""Planted mistakes on the command lines: exit code 2, three lines at most, and the field, its value and the rule."""

import json
import time
from pathlib import Path

import pytest

from common.data.dataset import open_dataset
from common.training.checkpoint import Checkpoints
from common.training.program import Program, make_state
from common.training.workdir import write_description
from configs import schema
from experiments import build_algorithm
from experiments.command_line import flags as command_line
from tests.experiments.runs import call, run

VAE = "train --config=vae:tiny --workdir={new} "
CONV = "train --config=vae:conv,tiny --workdir={new} "
DCGAN = "train --config=dcgan:tiny --workdir={new} "
POINTS = "train --config=gan:gaussians8,tiny --workdir={new} "

# The command line, by words without spaces, and what its error must say. {new} is free, {run} a run, {file} a file.
MISTAKES = [
  # Names.
  (VAE + "--config.train.bach_size=4", "config.train.bach_size", 'did you mean "batch_size"?'),
  (VAE + "--config.sede=1", "config.sede", 'did you mean "seed"?'),
  (VAE + "--config.train.batch_size.x=1", "config.train.batch_size.x", "no keys below it"),
  (VAE + "--config.optim.learning_rat=1", "config.optim.learning_rat", 'did you mean "learning_rate"?'),
  (VAE + "--cofnig.seed=1", "cofnig.seed", "Unknown"),
  (VAE + "--workdri=x", "workdri", "Did you mean: workdir"),
  ("train --workdir={new} --config=vaee", "--config=vaee", 'did you mean "vae"?'),
  ("train --workdir={new} --config=/nowhere/x.py", "--config=/nowhere/x.py", "is not a file or a name"),
  ("train --workdir={new} --config={file}", "--config=broken", "no such thing"),
  ("train --workdir={new} --config=vae:tinny", "--config=vae:tinny", 'did you mean "tiny"?'),
  ("train --workdir={new} --config=dcgan:npy", 'variant "npy"', "is set as in --config.data.name=npy"),
  ("train --workdir={new} --config=vae:mnist,digits", "--config=vae:mnist,digits", "two data sets"),
  ("train --workdir={new}", "--config=NAME", "classifier, cvae, dcgan, diffaugment, "),
  ("train --config=vae", "--workdir", "is missing"),
  # How words are put together.
  (VAE + "word", '"word"', "--name=value"),
  (VAE + "--config.train.batch_size 48", "--config.train.batch_size", "has no value"),
  (VAE + "--noconfig.data.flip", "--noconfig.data.flip", "--config.data.flip=False"),
  (VAE + "--config=dcgan:tiny", "--config=dcgan:tiny", "second"),
  (VAE + "--config.seed=1 --config.seed=2", "--config.seed=2", "keep one"),
  (
    DCGAN + "--config.loss.margin=1.0 --config.loss={{'name':'least_squares'}}",
    "config.loss.margin is unknown",
    '"least_squares" takes a, b, c, sigmoid',
  ),
  ("train --config.seed=1 --config=vae:tiny --workdir={new}", "--config.seed=1", "must follow --config"),
  # Types.
  (VAE + "--config.train.batch_size=four", "config.train.batch_size=four", "must be a whole number"),
  (VAE + "--config.optim.learning_rate=fast", "config.optim.learning_rate=fast", "must be a finite number"),
  (VAE + "--config.data.flip=maybe", "config.data.flip=maybe", "must be True or False"),
  (VAE + "--config.data.pixel_range=1", "config.data.pixel_range", "must be (0.0, 1.0) or (-1.0, 1.0)"),
  (VAE + "--devices=two", "--devices=two", "must be a whole number"),
  # Ranges.
  (
    VAE + "--config.train.batch_size=50",
    "config.train.batch_size=50",
    "use a multiple of 8, e.g. --config.train.batch_size=56",
  ),
  (VAE + "--config.optim.learning_rate=nan", "config.optim.learning_rate=nan", "must be a finite number"),
  (VAE + "--config.optim.learning_rate=-0.1", "learning_rate=-0.1", "must be above 0"),
  (VAE + "--config.ema.decay=1.0", "config.ema: decay=1.0", "must be in [0, 1)"),
  (VAE + "--config.dtype=float16", "config.dtype=float16", "must be one of float32, bfloat16"),
  (VAE + "--config.model.width=0", "size or width in the config is 0"),
  (VAE + "--config.model.activation=tahn", 'config.model.activation="tahn"', 'did you mean "tanh"?'),
  (VAE + "--config.train.steps_per_call=7", "config.log.every=10", "must be a multiple"),
  (VAE + "--config.checkpoint.every=15", "config.checkpoint.every=15", "must be a multiple of config.log.every=10"),
  (VAE + "--config.train.patience=3 --config.checkpoint.keep_best=", "config.train.patience=3", "needs"),
  (VAE + "--config.checkpoint.keep_best=elbow", 'config.checkpoint.keep_best="elbow"', 'did you mean "elbo"?'),
  (VAE + "--devices=-1", "--devices=-1", "non-negative"),
  (VAE + "--num_processes=2", "--num_processes=2", "--coordinator"),
  (VAE + "--coordinator=here --num_processes=2", "--coordinator=here", "host:port"),
  (VAE + "--coordinator=a:1 --num_processes=2 --process_id=2", "--process_id=2", "0 .. 1"),
  # Whole sections.
  (VAE + "--config.train={{'batch_size':3}}", "config.train", "set its keys one by one"),
  (VAE + "--config.optim=adam", "config.optim=adam", "is not a section; write --config.optim="),
  (DCGAN + "--config.optim.learning_rate=1", "did you mean discriminator_optim or generator_optim?"),
  (VAE + "--config.optim.=3", "config.optim.", "is unknown"),
  (VAE + "--config.optim.eps=-1.0", "config.optim.eps=-1.0", "must be 0 or more"),
  (CONV + "--config.model.bn_momentum=2.0", "config.model.bn_momentum=2.0", "must be at least 0 and below 1"),
  (VAE + "--config.evaluate.metrics={{'frechet':3}}", "config.evaluate.metrics.frechet=3", "is not a section"),
  (VAE + "--config.evaluate.metrics={{'frechet':{{'groups':1}}}}", "metrics.frechet: groups=1", "2 or more"),
  (DCGAN + "--config.generator.kernel_size=0", "config.generator: a size", "must be 1 or more"),
  (VAE + "--config.optim={{'name':'adem','learning_rate':1}}", 'config.optim.name="adem"', 'did you mean "adam"?'),
  (VAE + "--config.optim={{'name':'adam','rate':1}}", "config.optim.rate", "learning_rate, b1, b2, eps"),
  (VAE + "--config.optim={{'name':'adam'}}", "config.optim", "lacks learning_rate"),
  (VAE + "--config.optim={{'name':'adam','learning_rate':'fast'}}", "config.optim.learning_rate='fast'", "number"),
  (CONV + "--config.model={{'name':'conv','z_dim':4,'channels':8}}", "config.model.channels=8", "a tuple"),
  (DCGAN + "--config.loss={{'name':'hinj'}}", 'config.loss.name="hinj"', "non_saturating"),
  (VAE + "--config.family=gan", "config.family=gan", "take another --config"),
  # Settings that do not go together.
  (DCGAN + "--config.data.image_size=9", "config.data.image_size=9", "--config.data.image_size=10"),
  (CONV + "--config.data.image_size=10", "10x10", "multiple of 4"),
  (VAE + "--config.data.pixel_range=(-1.0,1.0)", "(-1.0, 1.0)", '"bernoulli" needs config.data.pixel_range=(0.0, 1.0)'),
  (
    DCGAN + "--config.game.n_critic=2 --config.game.order=simultaneous",
    "config.game: order=simultaneous does not go with n_critic=2",
    "--config.game.n_critic=1 or --config.game.order=alternating",
  ),
  (POINTS + "--config.data.flip=True", "config.data.flip", "points, not images"),
  # Data.
  (VAE + "--config.data.name=fashion_minst", 'config.data.name="fashion_minst"', 'did you mean "fashion_mnist"?'),
  (VAE + "--config.data.name=mnist --config.data.dir=/nowhere", "/nowhere", "--config.data.download=True"),
  (VAE + "--config.data.train_split=tran", 'config.data.train_split="tran"', 'did you mean "train"?'),
  (VAE + "--config.data.train_split=train[:9999]", "train[:9999]", "1400 examples"),
  ("reproduce --table=iwae --root={new} --data_dir=/nowhere", "/nowhere", "--data_dir=DIR"),
  # Workdirs.
  ("train --config=vae:tiny --workdir={file}", "--workdir={file}", "File exists"),
  (VAE + "--init_from=/nowhere", "/nowhere", "is not the workdir of a run"),
  ("train --config=vae:tiny --workdir={run} --config.seed=7", "config.seed: 0 -> 7", "another --workdir"),
  ("evaluate", "--workdir", "is missing"),
  ("evaluate --workdir={new}", "{new}", "is not the workdir of a run"),
  ("evaluate --workdir={run} --checkpoint=first", "--checkpoint=first", "last, best or the number"),
  ("evaluate --workdir={run} --checkpoint=last,best", "{run} has no best checkpoint", "use --checkpoint=last"),
  ("evaluate --workdir={run} --checkpoint=7", "step 7", "other steps: 5"),
  ("evaluate --workdir={run} --split=tset", "--split=tset", "train|validation|test"),
  ("evaluate --workdir={run} --config=vae", "config", "Unknown"),
  ("sample --workdir={new}", "{new}", "is not the workdir of a run"),
  ("sample --workdir={run} --num=0", "--num=0", "positive"),
  ("sample --workdir={run} --seed=-1", "--seed=-1", "in the range"),
  ("sample --workdir={run} --labels=3", "--labels=3", "unconditional"),
  ("sample --workdir={run} --out=x.bmp", "--out=x.bmp", ".png or .jpg"),
  ("sample --workdir={run} --out={file}/x.png", "--out={file}/x.png", "another place"),
  ("sample --workdir={run} --out={folder}", "--out={folder} is a directory; name a file"),
  ("export_classifier --workdir={run} --out=x.png", "--out=x.png must end in .safetensors"),
  ("sample --workdir={run} --truncation=nan", "--truncation=nan", "must be a finite number"),
  ("sample --workdir={run} --batch_norm=none", '--batch_norm="none"', "running, standing"),
  ("sample {run}", "is not a flag; write --name=value"),
  ("evaluate --workdir={run} --json=3", "--json=3", "must be true or false"),
  ("evaluate --workdir={run} --reference=digits", "--reference is for --samples", "leave it out"),
  ("evaluate --workdir={run} --ignore=split", "--ignore is for --compare", "leave it out"),
  ("evaluate --samples={file} --reference=digits --raw", "--raw is for --workdir", "leave it out"),
  ("evaluate --workdir={run} --checkpoint=", "--checkpoint", "is missing"),
  ("reproduce --table=smoke --root=", "--root", "is missing"),
  ("evaluate --workdir={run} --metrics=frechet --features=clasifier:digits", 'did you mean "classifier"?'),
  # Profiles, of vae:tiny's 40 steps, 5 a call.
  (VAE + "--profile=10", "--profile=10", "START:STOP"),
  (VAE + "--profile=20:10", "--profile=20:10", "START (the first call compiles) < STOP", "use --profile=20:25"),
  (VAE + "--profile=0:10", "--profile=0:10", "use --profile=5:10"),
  (VAE + "--profile=7:12", "steps_per_call=5", "use --profile=10:15"),
  (VAE + "--profile=10:45", "config.train.num_steps=40", "use --profile=10:40"),
  (VAE + "--profile=90:95", "config.train.num_steps=40", "use --profile=35:40"),
  (VAE + "--profile=5:10 --config.train.num_steps=5", "--profile=5:10", "lower config.train.steps_per_call"),
  (VAE + "--profile=5:10 --check", "--profile=5:10", "--check", "drop one"),
]


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> dict[str, Path]:
  """A place that is free, a file, and a run with one checkpoint on which no step was spent."""
  root = tmp_path_factory.mktemp("settings")
  (root / "folder.png").mkdir()
  (root / "broken.py").write_text("raise KeyError('no such thing')")
  config, run = command_line.load_config(command_line.find_config("vae"), "tiny"), root / "run"
  spec = open_dataset(config.data).spec
  (run / "best").mkdir(parents=True)  # every run has the directory
  write_description(run, {"version": schema.VERSION, **json.loads(config.to_json())}, spec)
  with Checkpoints(run / "checkpoints", keep=1) as checkpoints:
    checkpoints.save(5, make_state(build_algorithm(config, spec), spec, config.seed), {})
  return {"new": root / "new", "run": run, "file": root / "broken.py", "folder": root / "folder.png"}


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake[0])
def test_mistake(mistake, places, monkeypatch, capfd):
  command, *wanted = (text.format(**places) for text in mistake)
  name, *words = command.split(" ")
  monkeypatch.setattr(Program, "init", lambda self: pytest.fail("compiled before the mistake was found"))
  code = call(name, *words)
  out, err = capfd.readouterr()
  assert code == 2 and not out, err
  assert len(err.splitlines()) <= 3 and "Traceback" not in err, err
  for text in wanted:
    assert text in err
  assert not (places["new"] / "config.json").exists()  # else it would bind the run that is started next


@pytest.mark.parametrize("word", ["--config.train.bach_size=4", "--config.optim.learning_rate=nan"])
def test_mistake_in_a_process_of_its_own(word, places):
  """Sees what the test above cannot: other libraries' words on stderr, and the time from a cold start."""
  command, *wanted = next(mistake for mistake in MISTAKES if mistake[0].endswith(word))
  begun = time.monotonic()
  _, err = run(*command.format(**places).split(" "), code=2)
  assert time.monotonic() - begun < 60, "seconds on a free machine"
  assert len(err.splitlines()) <= 3 and all(text in err for text in wanted), err
