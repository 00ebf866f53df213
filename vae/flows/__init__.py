"""Normalizing flows: invertible maps of vectors with their log-determinants, one file a flow."""
