import jwt


def verifier(issuer, audience):
    keys = jwt.PyJWKClient(f"{issuer}/.well-known/jwks.json")
    rules = {"algorithms": ["ES256", "EdDSA", "RS256"], "issuer": issuer, "audience": audience}

    def verify(token):
        key = keys.get_signing_key_from_jwt(token)
        decoded = jwt.decode_complete(token, key, options={"require": ["exp", "sub"]}, **rules)
        if decoded["header"].get("typ") != "at+jwt":
            raise jwt.InvalidTokenError("not an access token")
        return decoded["payload"]

    return verify
