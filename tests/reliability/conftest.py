"""Processes share what they compile, as those of tests/experiments do."""

from tests.experiments.conftest import compiled  # noqa: F401 - a fixture
