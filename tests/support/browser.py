"""A real browser without a screen, which tells what its console said and what it asked for."""

import json
import os
import shutil
from contextlib import contextmanager

import pytest

# Set by .ci/run: there, a browser that is missing is a failure.
REQUIRED = "BROWSER_REQUIRED" in os.environ


@contextmanager
def browser(profile):
    """Chromium and its driver, with a profile in that folder."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not REQUIRED:
        pytest.importorskip("selenium")
        if chromium is None or driver is None:
            pytest.skip("no Chromium here, or no driver of it")
    assert chromium, "no Chromium"
    assert driver, "no driver of Chromium"
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options, Service(driver))
    try:
        yield opened
    finally:
        opened.quit()


def asked_for(opened):
    """The addresses of everything that a page asked for since this was asked last."""
    events = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
