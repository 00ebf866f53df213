"""This project's train steps beside PyTorch's: python -m experiments.benchmark. Only this package knows torch."""
