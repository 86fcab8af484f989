"""Keys: the attacker's keys, and the encodings of the server's public key."""

import base64
import hashlib
import json

from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def attackers_keys():
    """Returns a private key for each algorithm, and a secret for HMAC."""
    rsa_key = rsa.generate_private_key(65537, 2048)
    keys = {f"{family}{bits}": rsa_key for family in ("RS", "PS") for bits in (256, 384, 512)}
    keys |= {
        f"HS{bits}": b"the attacker's own secret, which is long enough for all of HMAC-512!"
        for bits in (256, 384, 512)
    }
    keys["ES256"] = ec.generate_private_key(ec.SECP256R1())
    keys["ES384"] = ec.generate_private_key(ec.SECP384R1())
    keys["ES512"] = ec.generate_private_key(ec.SECP521R1())
    keys["ES256K"] = ec.generate_private_key(ec.SECP256K1())
    keys["EdDSA"] = keys["Ed25519"] = ed25519.Ed25519PrivateKey.generate()
    keys["Ed448"] = ed448.Ed448PrivateKey.generate()
    return keys


def public_jwk(key):
    """Returns the public JWK (RFC 7517) of a private key; for a secret, the secret itself as a JWK."""
    if isinstance(key, bytes):
        return {"kty": "oct", "k": b64(key)}
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        return {"kty": "RSA", "n": b64(numbers.n.to_bytes(256, "big")), "e": "AQAB"}
    if isinstance(public, ec.EllipticCurvePublicKey):
        numbers, size = public.public_numbers(), (public.curve.key_size + 7) // 8
        name = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521", "secp256k1": "secp256k1"}
        x, y = (b64(number.to_bytes(size, "big")) for number in (numbers.x, numbers.y))
        return {"kty": "EC", "crv": name[public.curve.name], "x": x, "y": y}
    curve = "Ed25519" if isinstance(public, ed25519.Ed25519PublicKey) else "Ed448"
    return {"kty": "OKP", "crv": curve, "x": b64(public.public_bytes(Encoding.Raw, PublicFormat.Raw))}


def public_forms(key, jwk, key_set):
    """Returns the server's public key in every encoding that an attacker may try, as bytes."""
    forms = {
        "empty": b"",
        "zeros": bytes(32),
        "one zero": b"\0",
        "secret": b"secret",
        "kid": jwk["kid"].encode(),
    }
    forms["kid, decoded"] = unb64(jwk["kid"])
    forms["key set"] = key_set
    forms["JWK as served"] = json.dumps(jwk, separators=(",", ":")).encode()
    forms["JWK, spaced"] = json.dumps(jwk).encode()
    forms["JWK, indented"] = json.dumps(jwk, indent=2).encode()
    forms["JWK, sorted"] = json.dumps(jwk, sort_keys=True, separators=(",", ":")).encode()
    fields = {name: jwk[name] for name in ("crv", "e", "kty", "n", "x", "y") if name in jwk}
    forms["JWK of the thumbprint"] = json.dumps(fields, separators=(",", ":")).encode()
    forms["thumbprint"] = hashlib.sha256(forms["JWK of the thumbprint"]).digest()
    for name in ("n", "e", "x", "y"):
        if name in jwk:
            forms[f"{name}, encoded"] = jwk[name].encode()
            forms[name] = unb64(jwk[name])
    if isinstance(key, bytes):
        return forms
    public = key.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    forms |= {"PEM": pem, "PEM without last newline": pem.rstrip(), "PEM with CRLF": pem.replace(b"\n", b"\r\n")}
    forms["PEM body"] = b"".join(pem.splitlines()[1:-1])
    forms["DER"] = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    forms["DER in hex"] = forms["DER"].hex().encode()
    if isinstance(public, rsa.RSAPublicKey):
        forms["PKCS #1 PEM"] = public.public_bytes(Encoding.PEM, PublicFormat.PKCS1)
        forms["PKCS #1 DER"] = public.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    elif isinstance(public, ec.EllipticCurvePublicKey):
        forms["point"] = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        forms["compressed point"] = public.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    elif isinstance(public, ed25519.Ed25519PublicKey):
        forms["OpenSSH"] = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return forms
