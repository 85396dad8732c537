"""What a page in a browser lets a reader download."""

import pathlib
from typing import Any


def download(page: Any, press: str = "d") -> pathlib.Path:
    """The file that the page gives when a key is pressed.

    Args:
      page: of Playwright.
      press: the key.
    """
    with page.expect_download() as got:
        page.keyboard.press(press)
    return got.value.path()
