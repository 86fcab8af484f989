"""Responses of an authenticator with one defect each. The signature covers the defective response, unless the name
of the defect contains `altered`: such a response is changed after it was signed."""

from dataclasses import dataclass
from typing import Callable

from fido2 import cbor
from fido2.utils import websafe_decode, websafe_encode
from fido2.webauthn import AttestationObject, AuthenticatorData, CollectedClientData

from authenticators import CREATE, FLAG, GET, VERIFIED

ORIGIN = "https://trips.example.org"
# The index of the first byte of the counter in authenticator data.
COUNTER = 33

EXPIRED = "This request has expired. Please try again."
OTHER_PAGE = "Passkeys of this service cannot be used in this app or on this page."
NOT_CONFIRMED = "Please confirm the passkey with your fingerprint, face, PIN or pattern."
UNSUPPORTED = "Passkeys of this kind are not supported. Please use another device or password manager."
INVALID = "This passkey is not valid here. Please try again, or use another method."


@dataclass
class Defect:
    name: str
    # Returns a defective response to the options.
    response: Callable
    # The text for the user in the response of the server.
    detail: str = INVALID
    # Whether fido2 rejects the response too. fido2 leaves some checks to the application.
    fido2_refuses: bool = True


def flipped(data, index=-1):
    """Inverts a bit."""
    data = bytearray(data)
    data[index] ^= 1
    return bytes(data)


def altered(credential, field, change):
    """Changes a binary field of a response."""
    value = change(websafe_decode(credential["response"][field]))
    return credential | {"response": credential["response"] | {field: websafe_encode(value)}}


def renamed(credential):
    """Changes the credential id of a response."""
    other = websafe_encode(flipped(websafe_decode(credential["rawId"])))
    return credential | {"id": other, "rawId": other}


def common(respond, other_challenge, detail_of_alteration):
    """Yields the defects that registrations and logins can have. `respond` returns a response to options."""

    def defect(name, detail, fido2_refuses=True, origin=ORIGIN, **changes):
        return Defect(name, lambda options: respond(options, origin, **changes), detail, fido2_refuses)

    yield defect("a page of another site", OTHER_PAGE, origin="https://trips.example.net")
    yield defect("a page on a subdomain", OTHER_PAGE, origin="https://evil.trips.example.org")
    yield defect("a page on another port", OTHER_PAGE, origin=f"{ORIGIN}:8443")
    yield defect("a page without TLS", OTHER_PAGE, origin="http://trips.example.org")
    yield defect("an embedded page", OTHER_PAGE, False, cross_origin=True)
    yield defect("another relying party", OTHER_PAGE, rp_id="other.example.org")
    yield defect("user not present", NOT_CONFIRMED, flags=FLAG.UV)
    yield defect("user not verified", NOT_CONFIRMED, flags=FLAG.UP)
    yield defect("backed up, but not eligible", INVALID, False, flags=VERIFIED | FLAG.BS)
    yield Defect(
        "the challenge of another request",
        lambda options: respond(options | {"challenge": other_challenge}, ORIGIN),
        EXPIRED,
    )
    yield Defect(
        "client data altered",
        lambda options: altered(respond(options, ORIGIN), "clientDataJSON", lambda data: data + b" "),
        detail_of_alteration,
    )


def of_registration(new_device, other_challenge):
    """Yields defective registrations. Each comes from a new authenticator."""

    def respond(options, origin=ORIGIN, alg=None, **changes):
        return new_device(alg).create(options, origin, **changes)

    def alteration(change):
        """Changes the attestation object."""
        return lambda options: altered(respond(options), "attestationObject", change)

    def statement(change):
        def change_object(data):
            it = AttestationObject(data)
            return AttestationObject.create(it.fmt, it.auth_data, change(dict(it.att_stmt)))

        return alteration(change_object)

    def other_counter(data):
        it = AttestationObject(data)
        auth_data = AuthenticatorData(flipped(it.auth_data, COUNTER))
        return AttestationObject.create(it.fmt, auth_data, it.att_stmt)

    def without_format(data):
        return cbor.encode(cbor.decode(data) | {"fmt": "none"})

    yield from common(respond, other_challenge, UNSUPPORTED)
    yield Defect("the type of a login", lambda options: respond(options, kind=GET))
    yield Defect("signature altered", statement(lambda it: it | {"sig": flipped(it["sig"])}), UNSUPPORTED)
    yield Defect("algorithm altered", statement(lambda it: it | {"alg": -39}), UNSUPPORTED)
    yield Defect("counter altered", alteration(other_counter), UNSUPPORTED)
    yield Defect("format altered", alteration(without_format), UNSUPPORTED)
    yield Defect("the format of U2F", lambda options: respond(options, fmt="fido-u2f"), UNSUPPORTED)
    yield Defect("another algorithm", lambda options: respond(options, alg="ES384"), UNSUPPORTED, False)
    yield Defect("a byte after the attestation object, altered", alteration(lambda data: data + b"\0"))
    yield Defect("another credential id", lambda options: renamed(respond(options)), fido2_refuses=False)


def of_login(device, other_device, other_challenge, other_user):
    """Yields defective logins of an authenticator. `other_device` has no registered passkey."""

    def respond(options, origin=ORIGIN, **changes):
        return device.get(options, origin, **changes)

    def alteration(field, change):
        return lambda options: altered(respond(options), field, change)

    def with_other_key(options):
        credential = respond(options)
        data = websafe_decode(credential["response"]["authenticatorData"])
        client_data = CollectedClientData(websafe_decode(credential["response"]["clientDataJSON"]))
        return altered(credential, "signature", lambda _: other_device.sign(data, client_data))

    def of_user(handle):
        def response(options):
            credential = respond(options)
            return credential | {"response": credential["response"] | {"userHandle": handle}}

        return response

    yield from common(respond, other_challenge, INVALID)
    yield Defect("the type of a registration", lambda options: respond(options, kind=CREATE))
    yield Defect("signature altered", alteration("signature", flipped))
    yield Defect("signature removed, altered", alteration("signature", lambda _: b""))
    yield Defect("counter altered", alteration("authenticatorData", lambda data: flipped(data, COUNTER)))
    longer = alteration("authenticatorData", lambda data: data + b"\0")
    yield Defect("a byte after the authenticator data, altered", longer)
    yield Defect("another key", with_other_key)
    yield Defect("another credential id", lambda options: renamed(respond(options)))
    yield Defect("an earlier counter", lambda options: respond(options, counter=1), fido2_refuses=False)
    eligible = VERIFIED | FLAG.BE
    yield Defect("eligible for backup", lambda options: respond(options, flags=eligible), fido2_refuses=False)
    yield Defect("another user", of_user(other_user), fido2_refuses=False)
    yield Defect("no user", of_user(None), fido2_refuses=False)
