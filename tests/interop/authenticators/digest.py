"""Checks HTTP Digest (RFC 7616) with curl, requests and httpx: a personal access token is the password."""

import re
import subprocess
import urllib.error
import urllib.request

import httpx
import requests
from requests.auth import HTTPDigestAuth

from test_server import PASSWORD

TRIPS = "/api/v1/trips"
ALL = f"{TRIPS}?limit=100"
# Client and server must hash the same text, although it contains escaped characters.
QUERY = f"{TRIPS}?limit=3&q=caf%C3%A9,%20%22a%3Db%22&status=planned"


def check(server, _folder):
    grant = server.sign_up("nina")
    token = grant["access_token"]
    body = {"name": "Calendar", "scope": "trips:read trips:write"}
    created = server.call("/api/v1/me/tokens", body | {"digest": True}, token)
    without_digest = server.call("/api/v1/me/tokens", body, token)
    good = (created["id"], created["token"])
    wrong = [
        ("a wrong secret", (created["id"], flip(created["token"]))),
        ("a token that was not created for Digest", (without_digest["id"], without_digest["token"])),
        ("the password of the account", ("nina", PASSWORD)),
        ("an unknown id", (grant["user"]["id"], created["token"])),
    ]
    with_curl(server, good, wrong)
    with_requests(server, good, wrong)
    with_httpx(server, good, wrong)
    expected = {"curl", "requests", "httpx"}
    found = {trip["title"] for trip in server.call(ALL, token=token)["items"]}
    if found != expected:
        raise SystemExit(f"the clients have created the trips {found}, not {expected}")


def flip(token):
    return token[:-1] + ("1" if token[-1] == "0" else "0")


def expect(client, what, found, expected):
    if found != expected:
        raise SystemExit(f"{client}, {what}: {found}, not {expected}")


def with_curl(server, good, wrong):
    """Sends requests with curl, and compares the statuses of all its attempts."""

    def statuses(credentials, *arguments):
        command = ["curl", "-sS", "--digest", "--user", ":".join(credentials), "--dump-header", "-"]
        done = subprocess.run([*command, *arguments], check=True, capture_output=True, text=True, timeout=60)
        return [int(status) for status in re.findall(r"(?m)^HTTP/1.1 (\d+)", done.stdout)]

    to_file = ["--output", "/dev/null"]
    query = [*to_file, server.issuer + QUERY]
    json = ["--header", "Content-Type: application/json", "--data", '{"title":"curl"}']
    expect("curl", "GET", statuses(good, *query), [401, 200])
    expect("curl", "POST", statuses(good, *json, *to_file, server.issuer + TRIPS), [401, 201])
    expect("curl", "HEAD", statuses(good, "--head", *query), [401, 200])
    # Versions of curl differ in whether they use the nonce of the first request again.
    found = [status for status in statuses(good, *query * 3) if status != 401]
    expect("curl", "3 requests on one connection", found, [200, 200, 200])
    for name, credentials in wrong:
        expect("curl", name, statuses(credentials, *query), [401, 401])
    print(f"    curl: GET, POST, HEAD, 3 requests on one connection; {len(wrong)} wrong credentials refused")


def count(request):
    """Returns the nonce count (`nc`) of a request."""
    return int(re.search(r"\bnc=([0-9a-f]{8})", request.headers["Authorization"])[1], 16)


def with_requests(server, good, wrong):
    with requests.Session() as session:
        session.auth = HTTPDigestAuth(*good)
        sent = [
            ("GET", session.get(server.issuer + QUERY, timeout=30), 200),
            ("POST", session.post(server.issuer + TRIPS, json={"title": "requests"}, timeout=30), 201),
            ("HEAD", session.head(server.issuer + QUERY, timeout=30), 200),
            ("another GET", session.get(server.issuer + ALL, timeout=30), 200),
        ]
    for number, (name, response, status) in enumerate(sent, 1):
        attempts = [attempt.status_code for attempt in response.history]
        found = (response.status_code, attempts, count(response.request))
        expect("requests", name, found, (status, [401] if number == 1 else [], number))
    used = sent[-1][1].request.headers["Authorization"]
    expect("requests", "a used count", challenge_after(server, ALL, used), "stale")
    expect("requests", "the response for another path", challenge_after(server, QUERY, used), "not stale")
    for name, credentials in wrong:
        response = requests.get(server.issuer + QUERY, auth=HTTPDigestAuth(*credentials), timeout=30)
        found = (response.status_code, [attempt.status_code for attempt in response.history])
        expect("requests", name, found, (401, [401]))
    refused = f"a used count refused as stale, {len(wrong)} wrong credentials refused"
    print(f"    requests: GET, POST, HEAD, {len(sent)} requests with one nonce; {refused}")


def challenge_after(server, path, authorization):
    """Sends an `Authorization` header that was sent before, and returns the kind of the challenge in the response."""
    request = urllib.request.Request(server.issuer + path, headers={"Authorization": authorization})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status
    except urllib.error.HTTPError as error:
        with error:
            challenges = error.headers.get_all("WWW-Authenticate")
    (challenge,) = (value for value in challenges if value.startswith("Digest "))
    return "stale" if "stale=true" in challenge else "not stale"


def with_httpx(server, good, wrong):
    with httpx.Client(auth=httpx.DigestAuth(*good), base_url=server.issuer, timeout=30) as client:
        sent = [
            ("GET", client.get(QUERY), 200),
            ("POST", client.post(TRIPS, json={"title": "httpx"}), 201),
            ("HEAD", client.head(QUERY), 200),
        ]
    for number, (name, response, status) in enumerate(sent, 1):
        attempts = [attempt.status_code for attempt in response.history]
        found = (response.status_code, attempts, count(response.request))
        expect("httpx", name, found, (status, [401] if number == 1 else [], number))
    for name, credentials in wrong:
        response = httpx.get(server.issuer + QUERY, auth=httpx.DigestAuth(*credentials), timeout=30)
        found = (response.status_code, [attempt.status_code for attempt in response.history])
        expect("httpx", name, found, (401, [401]))
    refused = f"{len(wrong)} wrong credentials refused"
    print(f"    httpx: GET, POST, HEAD, {len(sent)} requests with one nonce; {refused}")
