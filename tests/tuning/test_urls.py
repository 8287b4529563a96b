import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning import urls


@pytest.mark.parametrize(
    "url",
    [
        "https://huggingface.co/datasets/a/b/resolve/main/x.parquet?download=true",
        "http://example.com:8080/rows.jsonl",
        "https://8.8.8.8/x",
        "https://[2606:4700:4700::1111]/x",
        "https://bücher.example/rows.csv",
        "https://minio.storage.svc/rows.csv",
        "https://store.example/a@b/x.json",
        "HTTPS://Example.COM./x",
    ],
)
def test_public_urls_pass(url: str) -> None:
    assert urls.static_problem(url) is None


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("", urls.INVALID),
        ("not a url", urls.INVALID),
        ("https://", urls.INVALID),
        ("https:///x", urls.INVALID),
        ("https://exa mple.com/x", urls.INVALID),
        ("https://example.com/\nx", urls.INVALID),
        ("https://example.com\\@127.0.0.1/", urls.INVALID),
        ("https://example.com:99999/", urls.INVALID),
        ("https://[::1", urls.INVALID),
        ("https://%6cocalhost/", urls.INVALID),
        ("https://1.2.3.4.5/", urls.INVALID),
        ("https://256.1.1.1/", urls.INVALID),
        ("https://" + "a" * 300 + "/", urls.INVALID),
        ("https://example.com/" + "a" * 9000, urls.INVALID),
        ("ftp://example.com/x", urls.WRONG_SCHEME),
        ("file://example.com/etc/passwd", urls.WRONG_SCHEME),
        ("s3://bucket/x", urls.WRONG_SCHEME),
        ("https://me:secret@example.com/x", urls.USERINFO),
        ("https://@example.com/x", urls.USERINFO),
        ("http://localhost/x", urls.LOCAL_NAME),
        ("http://LOCALHOST./x", urls.LOCAL_NAME),
        ("http://a.localhost/x", urls.LOCAL_NAME),
        ("http://ⓛocalhost/x", urls.LOCAL_NAME),
        ("http://metadata.google.internal/x", urls.LOCAL_NAME),
        ("http://metadata.google/x", urls.LOCAL_NAME),
        ("http://instance-data.ec2.internal/x", urls.LOCAL_NAME),
        ("http://169.254.169.254/x", urls.LOCAL_NAME),
        ("http://168.63.129.16/x", urls.LOCAL_NAME),
        ("http://[::ffff:169.254.169.254]/x", urls.LOCAL_NAME),
    ],
)
def test_other_urls_are_refused_with_their_sentence(url: str, sentence: str) -> None:
    assert urls.static_problem(url) == sentence


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "127。0。0。1",
        "10.0.0.8",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.1.1",
        "100.64.0.1",
        "0.0.0.0",
        "0",
        "224.0.0.1",
        "255.255.255.255",
        "192.0.2.1",
        "198.18.0.1",
        "[::]",
        "[::1]",
        "[::127.0.0.1]",
        "[::ffff:10.0.0.1]",
        "[fe80::1]",
        "[fe80::1%25eth0]",
        "[fc00::1]",
        "[fd12:3456::1]",
        "[fec0::1]",
        "[ff02::1]",
        "[2002:7f00:1::]",
        "[64:ff9b::10.0.0.1]",
        "[2001:db8::1]",
    ],
)
def test_addresses_that_are_not_public_are_refused_in_every_spelling(host: str) -> None:
    assert urls.static_problem(f"http://{host}/x") == urls.PRIVATE_ADDRESS


@pytest.mark.parametrize(
    ("url", "allow"),
    [
        ("http://10.1.2.3/x", "10.0.0.0/8"),
        ("http://10.1.2.3/x", "10.1.2.3"),
        ("http://[fd00::5]/x", "fd00::/16"),
        ("http://[::ffff:10.1.2.3]/x", "10.0.0.0/8"),
        ("http://localhost:9000/x", "localhost"),
        ("http://127.0.0.1:9000/x", "127.0.0.0/8"),
    ],
)
def test_an_allowed_host_or_network_may_be_private(url: str, allow: str) -> None:
    assert urls.static_problem(url) is not None
    assert urls.static_problem(url, (allow,)) is None


@pytest.mark.parametrize("allow", ["169.254.0.0/16", "0.0.0.0/0", "169.254.169.254"])
def test_no_allow_list_opens_a_metadata_endpoint(allow: str) -> None:
    assert urls.static_problem("http://169.254.169.254/x", (allow,)) == urls.LOCAL_NAME
    name = ("metadata.google.internal", "*.google.internal")
    assert urls.static_problem("http://metadata.google.internal/x", name) == urls.LOCAL_NAME
    assert urls.address_problem("169.254.169.254", ("evil.example",), "evil.example")


@pytest.mark.parametrize(
    ("ip", "host", "allow", "refused"),
    [
        ("93.184.216.34", "example.com", (), False),
        ("10.0.0.5", "example.com", (), True),
        ("10.0.0.5", "minio.storage.svc", ("minio.storage.svc",), False),
        ("10.0.0.5", "MINIO.storage.svc.", ("minio.storage.svc",), False),
        ("10.0.0.5", "a.b.corp.example", ("*.corp.example",), False),
        ("10.0.0.5", "corp.example", ("*.corp.example",), True),
        ("10.0.0.5", "evilcorp.example", ("*.corp.example",), True),
        ("10.0.0.5", "example.com", ("10.0.0.0/24",), False),
        ("10.0.1.5", "example.com", ("10.0.0.0/24",), True),
        ("64:ff9b::808:808", "example.com", (), False),
        ("nonsense", "example.com", (), True),
    ],
)
def test_resolved_addresses_are_judged_with_the_allow_list(
    ip: str, host: str, allow: tuple[str, ...], refused: bool
) -> None:
    assert (urls.address_problem(ip, allow, host) is not None) is refused


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://h/a/b/train-0.parquet?download=true", "train-0.parquet"),
        ("https://h/", "data"),
        ("https://h/a/..", "data"),
        ("https://h/%2e%2e%2fetc%2fpasswd", "passwd"),
        ("https://h/a/x%00y.csv", "x_y.csv"),
        ("https://h/" + "a" * 500 + ".csv", "a" * 116 + ".csv"),
    ],
)
def test_basename_is_safe_in_a_folder(url: str, name: str) -> None:
    assert urls.basename(url) == name


@given(st.text())
def test_any_text_is_judged_without_an_exception(text: str) -> None:
    for url in (text, f"http://{text}", f"https://{text}/x"):
        problem = urls.static_problem(url, ("*.corp.example", text))
        assert problem is None or isinstance(problem, str)


@given(st.ip_addresses())
def test_an_address_gets_the_same_answer_in_a_url_and_when_resolved(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    host = f"[{address}]" if address.version == 6 else str(address)
    by_url = urls.static_problem(f"http://{host}/")
    assert by_url == urls.address_problem(address, (), "example.com")
