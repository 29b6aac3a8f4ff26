"""What the tests of the contract share is made of what they ask for."""

from tests.contract import runs


def pytest_collection_finish(session):
    runs.derivatives_are_asked_for = any("test_derivatives.py" in item.nodeid for item in session.items)
