"""Checks authenticator apps (TOTP, RFC 6238) with pyotp and otplib, and the QR code with ZXing."""

import json
import re
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import pyotp
import zxingcpp

from authenticators import Fido2Key
from passkeys import ORIGIN, complete_with_passkey, register
from test_server import PASSWORD

STEP_SECS = 30
# The time that must remain of the current time step, so that the codes stay valid on a slow machine.
REMAINING_SECS = 20


def check(server, folder):
    grant = server.sign_up("nina")
    enrolment = server.call("/api/v1/me/totp", {}, grant["access_token"])
    uri = enrolment["otpauth_uri"]
    scanned = scan(enrolment["qr_svg"])
    if scanned != uri:
        raise SystemExit(f"ZXing reads {scanned!r} in the QR code, not {uri!r}")
    app = pyotp.parse_uri(uri)
    found = (app.secret, app.issuer, app.name, app.digits, app.interval)
    expected = (enrolment["secret"], urlsplit(ORIGIN).hostname, "nina", 6, STEP_SECS)
    if found != expected:
        raise SystemExit(f"pyotp reads {found} in {uri}, not {expected}")

    elapsed = time.time() % STEP_SECS
    if elapsed > STEP_SECS - REMAINING_SECS:
        time.sleep(STEP_SECS - elapsed + 0.1)
    now = int(time.time())
    times = [now + step * STEP_SECS for step in range(-2, 3)]
    codes = [app.at(at) for at in times]
    other_codes = codes_of_otplib(folder, uri, times)
    if codes != other_codes:
        raise SystemExit(f"pyotp computes {codes}, but otplib computes {other_codes}")
    recovery_codes = confirm(server, grant, codes)
    log_in_with_codes(server, codes, other_codes)
    print("    ZXing, pyotp and otplib: enrolled, and logged in twice; old, used and future codes refused")
    token = log_in_with_recovery_codes(server, recovery_codes)
    print("    recovery code: logged in once, then refused")
    log_in_with_passkey(server, token)
    print("    passkey of fido2: accepted as second factor, and once for authenticating again")


def scan(svg):
    """Returns the text of a QR code. Draws it first: the path of the SVG consists of rectangles."""
    size = int(re.search(r'viewBox="0 0 (\d+) \1"', svg)[1])
    path = re.search(r'\bd="([^"]*)"', svg)[1]
    pixels = bytearray(b"\xff" * size * size)
    rectangle = re.compile(r"M(\d+) (\d+)h(\d+)v(\d+)H\1V\2")
    for x, y, width, height in (map(int, found) for found in rectangle.findall(path)):
        for row in range(y, y + height):
            pixels[row * size + x : row * size + x + width] = bytes(width)
    if rectangle.sub("", path):
        raise SystemExit("the path of the QR code contains more than rectangles")
    found = zxingcpp.read_barcodes(memoryview(pixels).cast("B", (size, size)))
    return found[0].text if found else None


def codes_of_otplib(folder, uri, times):
    script = Path(folder) / "with_otplib.mjs"
    job = json.dumps({"uri": uri, "times": times})
    done = subprocess.run(
        ["node", script], input=job, check=True, stdout=subprocess.PIPE, text=True, timeout=60
    )
    return json.loads(done.stdout)


def confirm(server, grant, codes):
    """Confirms the app with the code of the previous time step, so that two newer codes remain for logins."""
    token = grant["access_token"]
    for code in (codes[0], codes[4]):
        server.refused("/api/v1/me/totp/confirm", {"code": code}, token, status=422, error="invalid_code")
    return server.call("/api/v1/me/totp/confirm", {"code": codes[1]}, token)["recovery_codes"]


def begin_login(server, methods):
    """Logs in with the password, and returns the token that continues the login."""
    login = {"identifier": "nina", "password": PASSWORD}
    problem = server.refused("/api/v1/auth/login", login, status=401, code="mfa_required")
    if problem["methods"] != methods:
        raise SystemExit(f"the second factors are {problem['methods']}, not {methods}")
    return problem["mfa_token"]


def refuse(server, mfa_token, **factor):
    server.refused(
        "/api/v1/auth/login/mfa", {"mfa_token": mfa_token} | factor, status=401, code="invalid_credentials"
    )


def log_in_with_codes(server, codes, other_codes):
    for code, refused in (
        # A code from the future, the code of the enrolment, and an old code.
        (codes[2], [codes[4], codes[1], codes[0]]),
        # A used code, a code from the future, and an old code.
        (other_codes[3], [codes[2], codes[4], codes[0]]),
    ):
        mfa_token = begin_login(server, ["totp", "recovery_code"])
        for wrong in refused:
            refuse(server, mfa_token, totp_code=wrong)
        grant = server.call("/api/v1/auth/login/mfa", {"mfa_token": mfa_token, "totp_code": code})
        if not grant["user"]["mfa_enabled"]:
            raise SystemExit("`mfa_enabled` is false after the enrolment")
    refuse(server, begin_login(server, ["totp", "recovery_code"]), totp_code=other_codes[3])


def log_in_with_recovery_codes(server, recovery_codes):
    path = "/api/v1/auth/login/mfa"
    mfa_token = begin_login(server, ["totp", "recovery_code"])
    token = server.call(path, {"mfa_token": mfa_token, "recovery_code": recovery_codes[0]})["access_token"]
    mfa_token = begin_login(server, ["totp", "recovery_code"])
    refuse(server, mfa_token, recovery_code=recovery_codes[0])
    remaining = server.call("/api/v1/me/recovery-codes", token=token)["remaining"]
    if remaining != len(recovery_codes) - 1:
        raise SystemExit(f"{remaining} of {len(recovery_codes)} recovery codes remain after one login")
    return token


def log_in_with_passkey(server, token):
    device = Fido2Key("ES256")
    register(server, token, device)
    complete_with_passkey(server, device, begin_login(server, ["totp", "recovery_code", "passkey"]))
    begun = server.call("/api/v1/me/reauthenticate/options", {}, token)
    proof = {"challenge_id": begun["challenge_id"], "credential": device.get(begun["options"], ORIGIN)}
    path = "/api/v1/me/reauthenticate"
    server.call(path, {"passkey": proof}, token)
    server.refused(path, {"passkey": proof}, token, status=422, error="invalid_passkey")
