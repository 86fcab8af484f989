#!/usr/bin/env python3
"""Runs the server behind nginx, Caddy and HAProxy: `check.py BINARY [nginx] [caddy] [haproxy] [haproxy_v2]`.

The configurations are the blocks of docs/operations.md. Only the name of the host, the addresses and the paths of the
certificate are replaced, so that each proxy listens on a free loopback port. `haproxy_v2` is the variant with the PROXY
protocol. Requires the three proxies and curl.
"""

import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

sys.dont_write_bytecode = True
root = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(root / "tests" / "support"))

from certificates import certificate  # noqa: E402
from test_server import PASSWORD, TestServer  # noqa: E402

# The address of the client, which differs from the address of the proxy.
CLIENT = "127.0.0.2"


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def recipe(language, by_proxy_protocol=False):
    """Returns the block of docs/operations.md in this language, with or without the PROXY protocol."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```", (root / "docs/operations.md").read_text(), re.S | re.M)
    found = [block for block in blocks if ("send-proxy" in block) == by_proxy_protocol]
    assert len(found) == 1, f"docs/operations.md has {len(found)} blocks of {language}"
    return found[0]


def replace(text, *pairs):
    for old, new in pairs:
        assert old in text, f"the recipe does not contain {old}"
        text = text.replace(old, new)
    return text


def nginx(folder, port, upstream):
    cert, key = certificate(folder)
    block = replace(recipe("nginx"), ("listen 443", f"listen 127.0.0.1:{port}"), ("trips.example;", "localhost;"),
                    ("127.0.0.1:8080", upstream), ("/etc/ssl/trips.example.pem", cert),
                    ("/etc/ssl/trips.example.key", key))
    paths = "".join(f"{name}_temp_path {folder}/{name};" for name in
                    ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/log; events {{}}\n"
                                       f"http {{ access_log off; {paths}\n{block} }}\n")
    return cert, ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "log")]


def caddy(folder, port, upstream):
    cert, key = certificate(folder)
    # Without the certificate, Caddy would issue one from its own local authority, which the test does not trust.
    block = replace(recipe("caddyfile"), ("trips.example {", f"localhost:{port} {{\n\tbind 127.0.0.1\n\ttls {cert} {key}"),
                    ("127.0.0.1:8080", upstream))
    (folder / "Caddyfile").write_text("{\n\tadmin off\n\tauto_https disable_redirects\n}\n" + block)
    return cert, ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


def haproxy(folder, port, upstream, by_proxy_protocol=False):
    cert, key = certificate(folder)
    both = folder / "both.pem"
    both.write_text(Path(cert).read_text() + Path(key).read_text())
    block = replace(recipe("haproxy", by_proxy_protocol), ("bind :443", f"bind 127.0.0.1:{port}"), ("127.0.0.1:8080", upstream),
                    ("/etc/haproxy/trips.example.pem", str(both)))
    (folder / "haproxy.cfg").write_text(block)
    return cert, ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]


def haproxy_v2(folder, port, upstream):
    return haproxy(folder, port, upstream, by_proxy_protocol=True)


# The additional settings of the server behind a proxy.
SETTINGS = {"haproxy_v2": {"proxy_protocol": "on"}}


class Client:
    """Sends requests with curl, from the address CLIENT."""

    def __init__(self, url, cert):
        self.url, self.cert, self.token = url, cert, None

    def call(self, method, path, body=None, headers=(), protocol="--http2"):
        """Returns the status, the version of HTTP, the headers and the body."""
        command = ["curl", "--silent", "--show-error", protocol, "--interface", CLIENT, "--cacert", self.cert,
                   "--max-time", "20", "--dump-header", "-", "--request", method, self.url + path]
        headers = list(headers) + ([f"Authorization: Bearer {self.token}"] if self.token else [])
        data = None
        if body is not None:
            headers += ["Content-Type: application/json", "Expect:"]
            command += ["--data-binary", "@-"]
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
        for header in headers:
            command += ["--header", header]
        done = subprocess.run(command, input=data, capture_output=True, check=True, timeout=30)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        version, status = first.split(" ")[:2]
        fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        return int(status), version, fields, content


def uuid7():
    random = uuid.uuid4().int & ((1 << 76) - 1)
    value = (int(time.time() * 1000) << 80) | (7 << 76) | random
    return str(uuid.UUID(int=(value & ~(3 << 62)) | (2 << 62)))


def check_api(client):
    """Uses the API as an app does."""
    status, version, _, content = client.call("POST", "/api/v1/auth/signup", {"username": "ada", "password": PASSWORD})
    assert (status, version) == (201, "HTTP/2"), (status, version, content)
    client.token = json.loads(content)["access_token"]
    status, version, fields, content = client.call("POST", "/api/v1/trips", {"title": "Lisbon"}, protocol="--http1.1")
    assert (status, version) == (201, "HTTP/1.1"), (status, version, content)
    path = "/api/v1/trips/" + json.loads(content)["id"]
    etag = fields["etag"]
    assert fields["location"].endswith(path), fields
    status, _, fields, _ = client.call("GET", path, headers=[f"If-None-Match: {etag}"])
    assert (status, fields["etag"]) == (304, etag), (status, fields)
    status, _, fields, content = client.call("PATCH", path, {"notes": "Bring shoes."}, [f"If-Match: {etag}"])
    assert status == 200 and fields["etag"] != etag, (status, content)
    status, _, fields, content = client.call("DELETE", path, headers=[f"If-Match: {etag}"])
    assert (status, json.loads(content)["code"]) == (412, "precondition_failed"), content
    assert fields["content-type"].startswith("application/problem+json"), fields
    status, _, _, content = client.call("PUT", path + "/share")
    assert status in (200, 201), (status, content)
    assert json.loads(content)["url"].startswith(client.url + "/"), content


def check_limits(client):
    """Sends bodies below and above the maximum size. The server, not the proxy, must reject the larger body."""
    operations = [{"op_id": uuid7(), "op": "create", "id": uuid7(), "trip": {"title": "Lisbon", "notes": "n" * 7800}}
                  for _ in range(500)]
    body = json.dumps({"operations": operations}).encode()
    assert 3_900_000 < len(body) < 4 * 1024 * 1024
    status, _, _, content = client.call("POST", "/api/v1/sync", body)
    assert status == 200 and b'"rejected"' not in content, (status, content[:300])
    status, content = refuse(client, body + b" " * 1_000_000)
    assert (status, json.loads(content)["code"]) == (413, "content_too_large"), (status, content[:300])
    status, _, fields, content = client.call("GET", "/api/v1/trips?limit=20", headers=["Accept-Encoding: gzip"])
    assert status == 200 and fields.get("content-encoding") == "gzip" and content[:2] == b"\x1f\x8b", fields


def refuse(client, body):
    """Sends a body that is too large. Returns the status and the content.

    The server responds before it has read the body. A proxy that is still sending the body may then end the
    stream instead of forwarding the response, so the request is repeated.
    """
    for attempts in range(5, 0, -1):
        try:
            status, _, _, content = client.call("POST", "/api/v1/sync", body)
            if status != 502 or attempts == 1:
                return status, content
        except subprocess.CalledProcessError:
            if attempts == 1:
                raise
    raise AssertionError("unreachable")


def check_address(client, server):
    """Sends forged forwarding headers. The server must log the address from which the client connected to the
    proxy."""
    claims = ["X-Forwarded-For: 203.0.113.7", "Forwarded: for=203.0.113.8"]
    status, _, fields, _ = client.call("GET", "/api/v1/me", headers=claims)
    assert status == 200, status
    for _ in range(50):
        lines = [line for line in server.log.read_text().splitlines() if fields["x-request-id"] in line]
        if lines:
            break
        time.sleep(0.1)
    assert lines and f"client_address={CLIENT}" in lines[0], lines
    assert not any("203.0.113." in line for line in lines), lines


def check(name, binary):
    folder = Path(tempfile.mkdtemp(prefix=f"tripgate-{name}."))
    port = free_port()
    url = f"https://localhost:{port}"
    try:
        settings = {"public_url": url, "trusted_proxies": "127.0.0.1"} | SETTINGS.get(name, {})
        with TestServer(binary, "ES256", log="info", **settings) as server:
            cert, command = globals()[name](folder, port, f"127.0.0.1:{server.port}")
            with (folder / "output").open("wb") as output:
                proxy = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder,
                                         env={"PATH": "/usr/sbin:/usr/bin:/bin", "HOME": str(folder)})
            try:
                client = Client(url, cert)
                for _ in range(100):
                    if proxy.poll() is None and socket.socket().connect_ex(("127.0.0.1", port)) == 0:
                        break
                    time.sleep(0.1)
                check_api(client)
                check_limits(client)
                check_address(client, server)
            except BaseException:
                print((folder / "output").read_text(errors="replace")[-2000:])
                raise
            finally:
                proxy.terminate()
                proxy.wait(20)
        print(f"{name}: as expected")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    for proxy_name in sys.argv[2:] or ["nginx", "caddy", "haproxy", "haproxy_v2"]:
        check(proxy_name, sys.argv[1])
