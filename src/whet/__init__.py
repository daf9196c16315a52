"""Sharpen images, video and live calls with networks small enough to run anywhere."""

from __future__ import annotations

__version__ = "0.1.0"
