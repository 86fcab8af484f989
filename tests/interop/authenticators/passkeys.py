"""Checks passkeys (Web Authentication Level 3). Two authenticators create and use passkeys with each algorithm,
and fido2 verifies the same responses as the server, with the public key that the server has stored.

The server must reject each defective response with the right text. fido2 must also reject the response, unless
fido2 leaves the check to the application.
"""

import sqlite3
from urllib.parse import urlsplit
from uuid import UUID

from fido2 import cbor
from fido2.attestation import Attestation, InvalidData, InvalidSignature
from fido2.cose import CoseKey
from fido2.server import Fido2Server
from fido2.utils import websafe_decode, websafe_encode
from fido2.webauthn import (
    AttestedCredentialData,
    PublicKeyCredentialCreationOptions,
    PublicKeyCredentialRequestOptions,
    PublicKeyCredentialRpEntity,
)

from authenticators import ALGORITHMS, Emulator, Fido2Key
from defects import ORIGIN, of_login, of_registration

RP_ID = urlsplit(ORIGIN).hostname
# The exceptions of fido2 for a response that is not valid.
REJECTIONS = (ValueError, InvalidData, InvalidSignature)


class RelyingParty:
    """fido2 in the role of the server."""

    def __init__(self):
        entity = PublicKeyCredentialRpEntity(name=RP_ID, id=RP_ID)
        self.fido2 = Fido2Server(entity, "direct", lambda origin: origin == ORIGIN, self._verify_attestation)

    @staticmethod
    def _verify_attestation(attestation, client_data_hash):
        kind = Attestation.for_type(attestation.fmt)
        kind().verify(attestation.att_stmt, attestation.auth_data, client_data_hash)

    def register(self, options, credential):
        """Verifies a registration, and returns the authenticator data."""
        return self.fido2.register_complete(self._state(options), credential)

    def log_in(self, options, credential, known):
        return self.fido2.authenticate_complete(self._state(options), [known], credential)

    @staticmethod
    def _state(options):
        return {"challenge": options["challenge"], "user_verification": "required"}


def agree(device, verify):
    """Returns the result of fido2 for a response that the server has accepted."""
    try:
        return verify()
    except REJECTIONS as error:
        raise SystemExit(
            f"{device.name}, {device.alg}: the server accepts the response, fido2 does not: {error}"
        )


def stored(server, credential):
    """Returns the passkey that the server has stored, as a credential of fido2, and its signature counter."""
    with sqlite3.connect(f"file:{server.folder}/data/tripgate.db?mode=ro", uri=True) as database:
        found = websafe_decode(credential["rawId"])
        row = database.execute(
            "SELECT public_key, sign_count FROM passkeys WHERE credential_id = ?", (found,)
        ).fetchone()
    database.close()
    public_key = CoseKey.parse(cbor.decode(row[0]))
    return AttestedCredentialData.create(bytes(16), found, public_key), row[1]


def begin_registration(server, token, user):
    begun = server.call("/api/v1/me/passkeys/options", {}, token)
    options = PublicKeyCredentialCreationOptions.from_dict(begun["options"])
    selection = options.authenticator_selection
    found = (
        options.rp.id,
        options.user.id,
        selection.user_verification,
        selection.resident_key,
        options.attestation,
    )
    if found != (RP_ID, UUID(user).bytes, "required", "required", "none"):
        raise SystemExit(f"fido2 reads {found} in the options of a registration: {begun['options']}")
    if [parameter.alg for parameter in options.pub_key_cred_params] != list(ALGORITHMS.values()):
        raise SystemExit(f"the server does not offer the algorithms {ALGORITHMS}: {begun['options']}")
    return begun


def register(server, token, device):
    """Registers a passkey with the server and with fido2, and returns the response of the authenticator."""
    user = server.call("/api/v1/me", token=token)["id"]
    begun = begin_registration(server, token, user)
    credential = device.create(begun["options"], ORIGIN)
    body = {"challenge_id": begun["challenge_id"], "credential": credential, "name": device.name}
    server.call("/api/v1/me/passkeys", body, token)
    data = agree(device, lambda: RelyingParty().register(begun["options"], credential))
    known, count = stored(server, credential)
    if (known.public_key, count) != (data.credential_data.public_key, data.counter):
        raise SystemExit(
            f"{device.name}, {device.alg}: the server has stored another passkey: {known}, {count}"
        )
    if known.public_key[3] != ALGORITHMS[device.alg]:
        raise SystemExit(f"{device.name} has used algorithm {known.public_key[3]} instead of {device.alg}")
    return credential


def begin_login(server, **body):
    begun = server.call("/api/v1/auth/passkeys/options", body)
    options = PublicKeyCredentialRequestOptions.from_dict(begun["options"])
    if (options.rp_id, options.user_verification) != (RP_ID, "required"):
        raise SystemExit(f"fido2 reads {options} in the options of a login: {begun['options']}")
    return begun


def log_in(server, device, user):
    """Logs in at the server and at fido2, and returns the counter that the server has stored."""
    begun = begin_login(server)
    credential = device.get(begun["options"], ORIGIN)
    body = {"challenge_id": begun["challenge_id"], "credential": credential}
    grant = server.call("/api/v1/auth/passkeys/login", body)
    if grant["user"]["id"] != user:
        raise SystemExit(f"{device.name}: the passkey of {user} has logged in {grant['user']}")
    known, count = stored(server, credential)
    agree(device, lambda: RelyingParty().log_in(begun["options"], credential, known))
    # The server accepts each challenge only once.
    server.refused("/api/v1/auth/passkeys/login", body, status=401, code="invalid_credentials")
    return count


def complete_with_passkey(server, device, mfa_token):
    """Uses a passkey as the second factor."""
    begun = begin_login(server, mfa_token=mfa_token)
    allowed = [allowed["id"] for allowed in begun["options"]["allowCredentials"]]
    proof = {"challenge_id": begun["challenge_id"], "credential": device.get(begun["options"], ORIGIN)}
    if allowed != [proof["credential"]["id"]]:
        raise SystemExit(
            f"the options name {allowed} instead of the user's passkey {proof['credential']['id']}"
        )
    server.call("/api/v1/auth/login/mfa", {"mfa_token": mfa_token, "passkey": proof})


def check(server, folder):
    for alg in ALGORITHMS:
        for new_device in (Fido2Key, lambda alg: Emulator(alg, folder)):
            device = new_device(alg)
            grant = server.sign_up(f"{device.name}-{alg}")
            user = grant["user"]["id"]
            register(server, grant["access_token"], device)
            counters = [log_in(server, device, user) for _ in range(3)]
            if not counters[0] < counters[1] < counters[2]:
                raise SystemExit(f"{device.name}, {alg}: the counter does not grow: {counters}")
            device.close()
            print(f"    {device.name}, {alg}: registered, and logged in 3 times; fido2 agrees")
    for alg in ALGORITHMS:
        grant = server.sign_up(f"defects-{alg}")
        user, token = grant["user"]["id"], grant["access_token"]
        refuse_registrations(server, token, alg, user)
        refuse_logins(server, token, alg, user)


def refuse_registrations(server, token, alg, user):
    other = begin_registration(server, token, user)["options"]["challenge"]
    refused = Refused(alg)
    for defect in of_registration(lambda other_alg: Fido2Key(other_alg or alg), other):
        begun = begin_registration(server, token, user)
        credential = defect.response(begun["options"])
        body = {"challenge_id": begun["challenge_id"], "credential": credential}
        problem = server.refused(
            "/api/v1/me/passkeys", body, token, status=422, error="invalid_passkey", case=defect.name
        )
        refused.count(defect, problem, lambda: RelyingParty().register(begun["options"], credential))
    if server.call("/api/v1/me/passkeys", token=token)["items"]:
        raise SystemExit("a rejected passkey is in the list")
    refused.report("registrations")


def refuse_logins(server, token, alg, user):
    device = Fido2Key(alg)
    credential = register(server, token, device)
    log_in(server, device, user)
    known, _ = stored(server, credential)
    other = begin_login(server)["options"]["challenge"]
    other_user = websafe_encode(UUID(server.sign_up(f"other-{alg}")["user"]["id"]).bytes)
    refused = Refused(alg)
    for defect in of_login(device, Fido2Key(alg), other, other_user):
        begun = begin_login(server)
        credential = defect.response(begun["options"])
        body = {"challenge_id": begun["challenge_id"], "credential": credential}
        problem = server.refused(
            "/api/v1/auth/passkeys/login", body, status=401, code="invalid_credentials", case=defect.name
        )
        refused.count(defect, problem, lambda: RelyingParty().log_in(begun["options"], credential, known))
    # The rejected responses have not disabled the passkey.
    log_in(server, device, user)
    refused.report("logins")


class Refused:
    """Counts the defective responses that the server rejects, and those that fido2 rejects too."""

    def __init__(self, alg):
        self.alg, self.by_server, self.by_fido2 = alg, 0, 0

    def count(self, defect, problem, verify):
        if problem["detail"] != defect.detail:
            raise SystemExit(f"{self.alg}, {defect.name}: {problem['detail']!r} instead of {defect.detail!r}")
        try:
            verify()
            is_refused = False
        except REJECTIONS:
            is_refused = True
        if is_refused != defect.fido2_refuses:
            found = "rejects" if is_refused else "accepts"
            raise SystemExit(f"{self.alg}, {defect.name}: fido2 {found} the response")
        self.by_server += 1
        self.by_fido2 += is_refused

    def report(self, kind):
        print(
            f"    {self.alg}: {self.by_server} defective {kind} refused, {self.by_fido2} of them also by fido2"
        )
