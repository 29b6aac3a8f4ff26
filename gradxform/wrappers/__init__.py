"""Transforms around transforms."""
