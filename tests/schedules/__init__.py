"""Tests of gradxform.schedules."""
