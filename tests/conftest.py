"""Shared by all tests: no law may fail because the machine was busy."""

from hypothesis import settings

settings.register_profile("taiqu", deadline=None)
settings.load_profile("taiqu")
