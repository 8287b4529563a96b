"""For every test: a busy machine is slow, not wrong."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("tunery", deadline=None)
settings.load_profile("tunery")
