"""The audit of the pins finds what is missing, yanked or vulnerable, and says when it could not look."""

import http.server
import json
import subprocess
import sys
import threading

import pytest

from tests.support.refusals import ROOT

ANSWERS = {
    "good/1.0": {"info": {"yanked": False}, "vulnerabilities": []},
    "pulled/2.0": {"info": {"yanked": True, "yanked_reason": "broken"}, "vulnerabilities": []},
    "open/3.0": {"info": {}, "vulnerabilities": [{"id": "PYSEC-1", "fixed_in": ["3.1"]}]},
}


@pytest.fixture(scope="module")
def index():
    class Index(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            answer = ANSWERS.get(self.path.strip("/").removesuffix("/json"))
            self.send_response(200 if answer else 404)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def audit(*words):
    command = [sys.executable, str(ROOT / "scripts" / "audit.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_installed_dependency_is_pinned_by_name_and_version():
    done = audit("--offline")
    assert done.returncode == 0, done.stdout


def test_yanked_vulnerable_and_unpinned_versions_are_found(tmp_path, index):
    text = (ROOT / "constraints.txt").read_text().splitlines()
    pins = tmp_path / "constraints.txt"
    pins.write_text("good==1.0\npulled==2.0\nopen==3.0\nnumpy>=1\nx @ https://example.invalid/x.whl\n")
    done = audit("--constraints", str(pins), "--index", index)
    assert done.returncode == 1
    for line in (
        "pulled 2.0: yanked (broken)",
        "open 3.0: PYSEC-1, fixed in 3.1",
        "'numpy>=1' is no name==version",
        "'x @ https://example.invalid/x.whl' is no name==version",
        "installed, but not in constraints.txt",
    ):
        assert line in done.stdout
    assert any(line.startswith("torch==") for line in text)


def test_an_index_that_does_not_answer_is_not_taken_for_a_clean_one(index):
    done = audit("--index", index)
    assert done.returncode == 3
    assert "is not known" in done.stderr
