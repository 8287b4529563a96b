"""The rig itself: what other tests build on."""

import subprocess

import pytest
import requests
from rig.fault_proxy import Corrupt, CutRequest, CutResponse, Rule, Silence, Status, running_proxy
from rig.registry import PASSWORD, USER, Mode, running_registry


@pytest.mark.parametrize("mode", ["plain", "htpasswd", "token", "tls"])
def test_skopeo_can_use_every_registry(mode: Mode) -> None:
    with running_registry(mode) as registry:
        command = ["skopeo", "--insecure-policy", "list-tags", f"docker://{registry.host}/none"]
        command += [f"--tls-verify={str(mode == 'tls').lower()}"]
        if registry.ca:
            command += [f"--cert-dir={registry.ca.parent}"]
        if registry.credentials:
            command += [f"--authfile={registry.credentials}"]
        done = subprocess.run(command, capture_output=True, text=True)
    assert "404 (Not Found)" in done.stderr


def test_a_restarted_registry_has_the_same_address() -> None:
    with running_registry("htpasswd") as registry:
        registry.stop()
        registry.start()
        answer = requests.get(f"http://{registry.host}/v2/", auth=(USER, PASSWORD), timeout=5)
    assert answer.status_code == 200


def test_the_proxy_passes_misbehaves_and_remembers() -> None:
    with running_registry() as registry, running_proxy(registry.host) as proxy:
        proxy.rules += [
            Rule("GET", "/v2/", Status(429, {"Retry-After": "7"})),
            Rule("GET", "/v2/", Corrupt()),
            Rule("GET", "/v2/", CutResponse(1)),
            Rule("GET", "/v2/", Silence()),
            Rule("POST", "/v2/", CutRequest(3)),
        ]
        url = f"http://{proxy.host}/v2/"
        assert requests.get(url, timeout=5).headers["Retry-After"] == "7"
        assert requests.get(url, timeout=5).content != b"{}"
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            requests.get(url, timeout=5)
        with pytest.raises(requests.Timeout):
            requests.get(url, timeout=0.2)
        with pytest.raises(requests.ConnectionError):
            requests.post(url, data=b"12345", timeout=5)
        assert requests.get(url, timeout=5).content == b"{}"
        registry.stop()
        assert requests.get(url, timeout=5).status_code == 502
        assert [s.status for s in proxy.log] == [429, 200, 200, 0, 0, 200, 502]
