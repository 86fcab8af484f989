import time
import requests
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet


def verifier(issuer, audience):
    keys, fetched_at = None, 0.0
    claims = {"iss": issuer, "aud": audience}
    rules = {name: {"essential": True, "value": value} for name, value in claims.items()}
    rules |= {"exp": {"essential": True}, "sub": {"essential": True}}

    def verify(token):
        nonlocal keys, fetched_at
        if keys is None or time.monotonic() - fetched_at > 300:
            response = requests.get(f"{issuer}/.well-known/jwks.json", timeout=5)
            keys, fetched_at = KeySet.import_key_set(response.json()), time.monotonic()
        decoded = jwt.decode(token, keys, algorithms=["ES256", "EdDSA", "RS256"])
        if decoded.header.get("typ") != "at+jwt":
            raise JoseError("not an access token")
        jwt.JWTClaimsRegistry(**rules).validate(decoded.claims)
        return decoded.claims

    return verify
