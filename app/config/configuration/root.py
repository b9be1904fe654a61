"""Where the project is."""

from pathlib import Path

__all__ = ['ROOT']

#: The folder that holds app/: relative paths and the ``.env`` file are looked up here.
ROOT = Path(__file__).resolve().parents[3]
