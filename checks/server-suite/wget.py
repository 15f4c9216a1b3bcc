"""Stands for the package of this name, which the tests import: there is nothing to download from."""


def download(url, out=None):
    """Refuses."""
    raise OSError(f"there is no network for {url}")
