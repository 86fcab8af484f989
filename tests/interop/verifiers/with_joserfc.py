import time
import requests
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet


def verifier(issuer, audience):
    keys, read_at = None, 0.0
    claims = {"iss": issuer, "aud": audience}
    rules = {name: {"essential": True, "value": value} for name, value in claims.items()}
    rules |= {"exp": {"essential": True}, "sub": {"essential": True}}

    def verify(token):
        nonlocal keys, read_at
        if keys is None or time.monotonic() - read_at > 300:
            answer = requests.get(f"{issuer}/.well-known/jwks.json", timeout=5)
            keys, read_at = KeySet.import_key_set(answer.json()), time.monotonic()
        read = jwt.decode(token, keys, algorithms=["ES256", "EdDSA", "RS256"])
        if read.header.get("typ") != "at+jwt":
            raise JoseError("not an access token")
        jwt.JWTClaimsRegistry(**rules).validate(read.claims)
        return read.claims

    return verify
