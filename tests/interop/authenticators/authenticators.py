"""Two authenticators that create and use passkeys. Both return the JSON of Web Authentication Level 3, §5.1."""

import json
import os
import subprocess
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from fido2.cose import CoseKey
from fido2.utils import sha256, websafe_decode
from fido2.webauthn import (
    AttestationObject,
    AttestedCredentialData,
    AuthenticationResponse,
    AuthenticatorAssertionResponse,
    AuthenticatorAttestationResponse,
    AuthenticatorData,
    CollectedClientData,
    RegistrationResponse,
)

ALGORITHMS = {"ES256": -7, "EdDSA": -8, "RS256": -257}
FLAG = AuthenticatorData.FLAG
# The user was present, and the device has verified the user.
VERIFIED = FLAG.UP | FLAG.UV
CREATE, GET = CollectedClientData.TYPE.CREATE, CollectedClientData.TYPE.GET

# For each algorithm, a function that creates a private key, and the additional arguments of `sign`.
KEYS = {
    "ES256": (lambda: ec.generate_private_key(ec.SECP256R1()), [ec.ECDSA(SHA256())]),
    "ES384": (lambda: ec.generate_private_key(ec.SECP384R1()), [ec.ECDSA(SHA384())]),
    "EdDSA": (ed25519.Ed25519PrivateKey.generate, []),
    "RS256": (lambda: rsa.generate_private_key(65537, 2048), [padding.PKCS1v15(), SHA256()]),
}


class Fido2Key:
    """A security key with one passkey, built from fido2. It sends a self attestation in the format `packed`.

    The arguments after `origin` replace values that the key derives from the options, for defective responses.
    """

    name = "fido2"

    def __init__(self, alg):
        new_key, self.sign_options = KEYS[alg]
        self.alg, self.key, self.id, self.counter = alg, new_key(), os.urandom(32), 0
        self.public_key = CoseKey.for_name(alg).from_cryptography_key(self.key.public_key())

    def sign(self, data, client_data):
        return self.key.sign(data + client_data.hash, *self.sign_options)

    def create(self, options, origin, kind=CREATE, rp_id=None, flags=VERIFIED, fmt="packed", **client):
        client_data = CollectedClientData.create(kind, options["challenge"], origin, **client)
        self.user = websafe_decode(options["user"]["id"])
        credential = AttestedCredentialData.create(bytes(16), self.id, self.public_key)
        rp_id_hash = sha256((rp_id or options["rp"]["id"]).encode())
        data = AuthenticatorData.create(rp_id_hash, flags | FLAG.AT, self.counter, credential)
        statement = {"alg": self.public_key.ALGORITHM, "sig": self.sign(data, client_data)}
        attestation = AttestationObject.create(fmt, data, statement)
        response = AuthenticatorAttestationResponse(client_data=client_data, attestation_object=attestation)
        return to_json(RegistrationResponse(raw_id=self.id, response=response))

    def get(self, options, origin, kind=GET, rp_id=None, flags=VERIFIED, counter=None, **client):
        self.counter += 1
        client_data = CollectedClientData.create(kind, options["challenge"], origin, **client)
        rp_id_hash = sha256((rp_id or options["rpId"]).encode())
        data = AuthenticatorData.create(rp_id_hash, flags, self.counter if counter is None else counter)
        response = AuthenticatorAssertionResponse(
            client_data=client_data,
            authenticator_data=data,
            signature=self.sign(data, client_data),
            user_handle=self.user,
        )
        return to_json(AuthenticationResponse(raw_id=self.id, response=response))

    def close(self):
        pass


def to_json(response):
    return json.loads(json.dumps(dict(response)))


class Emulator:
    """A browser with an authenticator, both of nid-webauthn-emulator. They send no attestation."""

    name = "nid-webauthn-emulator"

    def __init__(self, alg, folder):
        self.alg = alg
        command = ["node", Path(folder) / "with_emulator.mjs", alg]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def _run(self, method, origin, options):
        job = {"method": method, "origin": origin, "options": options}
        print(json.dumps(job), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} failed")
        return json.loads(line)

    def create(self, options, origin):
        return self._run("createJSON", origin, options)

    def get(self, options, origin):
        return self._run("getJSON", origin, options)

    def close(self):
        self.process.stdin.close()
        self.process.wait(15)
