"""Adapter images and registries: build, push, pull, verify. See tuning/push.py."""
