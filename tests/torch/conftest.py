"""Tests that need torch, which is too large for the environment of all others: `make torch` has one of its own."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("torch") else ["test_*.py"]
