"""The jobs for the libraries. All libraries get the same jobs.

A job is a header, a payload, a signing algorithm and the name of a key. A token signed by the server's
own key has exactly one defect, so only this defect can cause its rejection.
"""

import base64
import copy
import json
import time
import uuid

from keys import attackers_keys, b64, public_forms, public_jwk, unb64

OWN = "own"
MISSING = object()
ALGORITHMS = [
    *("HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "ES256K", "EdDSA", "Ed25519", "Ed448"),
]


def fresh_jti():
    """Returns a new UUIDv7, as in a valid token, so that no two tokens are equal."""
    random = uuid.uuid4().int
    millis = int(time.time() * 1000)
    return str(
        uuid.UUID(int=(millis << 80) | (7 << 76) | (random & ((1 << 76) - 1)) & ~(0b11 << 62) | (0b10 << 62))
    )


CLAIMS = {
    "iss": ["", "http://evil.test", 1, True, [], {}, None, MISSING, "IN A LIST", "WITH SLASH", "UPPER"],
    "aud": ["", "another", "Tripgate", "tripgate ", "tripgate\0", 1, [], ["another"], {}, None, MISSING],
    "exp": [0, -1, 1, "PAST", "TEXT", 1e300, -1e300, 2**63, 2**64, True, [], {}, "", "never", None, MISSING],
    "nbf": ["FUTURE", "TEXT", "soon", 1e300, 2**63, True, [], {}, ""],
    "iat": ["FUTURE", "TEXT", 1e300, 2**63, True, [], {}, None, MISSING],
    "sub": ["", "ada", "admin", 1, True, [], {}, "0", "00000000", "' OR 1=1 --", None, MISSING],
    "jti": [
        "",
        "1",
        1,
        [],
        {},
        "00000000-0000-4000-8000-000000000000",
        "f81d4fae-7dec-4abc-a765-00a0c91e6bf6",
        None,
        MISSING,
    ],
    "client_id": ["", "another", "TRIPGATE", 1, [], {}, None, MISSING],
    "scope": ["admin", "trips:*", "*", "trips:read\ttrips:write", 1, [], ["trips:read"], {}, None, MISSING],
    "sid": ["", "1", 1, [], {}],
    "amr": ["pwd", 1, {}, [1], None, MISSING],
    "auth_time": ["", "TEXT", 1e300, [], {}, None, MISSING],
    "generation": ["", "1", 1e300, [], {}],
}
TYPES = [
    "",
    "JWT",
    "jwt",
    "JOSE",
    "at",
    "at+jwt2",
    "at+jwt;v=1",
    " at+jwt",
    "at+jwt ",
    "application/jwt",
    "application/",
    "text/at+jwt",
    "application/application/at+jwt",
    "id+jwt",
    "dpop+jwt",
    "logout+jwt",
    "secevent+jwt",
    "at_jwt",
    1,
    True,
    [],
    ["at+jwt"],
    {},
    None,
    MISSING,
]
KIDS = [
    "",
    " ",
    "0",
    "/dev/null",
    "../../../../dev/null",
    "../../etc/passwd",
    "file:///dev/null",
    "x' OR '1'='1",
    "' UNION SELECT 'AA' --",
    "'; DROP TABLE signing_keys; --",
    "a\0b",
    "\0",
    "%00",
    "$(id)",
    "`id`",
    "| id",
    "{{7*7}}",
    "${jndi:ldap://127.0.0.1/a}",
    "\r\nX-A: b",
    "http://127.0.0.1:1/key",
    "AAAA",
    "é",
    "\u202e",
    "A" * 43,
    "A" * 42,
    "A" * 44,
    "A" * 2000,
    "A" * 10_000,
    0,
    1,
    -1,
    1e300,
    True,
    [],
    ["KID"],
    {},
    {"kid": "KID"},
    None,
    MISSING,
    "KID=",
    "KID ",
    " KID",
    "KID\n",
    "kid lower",
    "KID.",
    "KID/",
    "KID\0",
]
ALG_NAMES = [
    "none",
    "None",
    "NONE",
    "nOnE",
    "nonE",
    "none ",
    " none",
    "no\u200bne",
    "null",
    "",
    " ",
    "0",
    0,
    1,
    True,
    False,
    [],
    ["none"],
    {},
    None,
    MISSING,
    "hs256",
    "HS256 ",
    "es256",
    "Es256",
    "rs256",
    "eddsa",
    "EDDSA",
    "A256KW",
    "dir",
    "RSA-OAEP",
    "ECDH-ES",
    "SHA256",
    "HMACSHA256",
    "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256",
    "ES256\0",
    "RS1",
    "ES256K1",
    "ML-DSA-44",
    "FN-DSA-512",
]
CRIT = [
    [],
    ["exp"],
    ["b64"],
    ["alg"],
    ["crit"],
    ["unknown"],
    ["http://example.test/ext"],
    [1],
    [None],
    "exp",
    1,
    True,
    {},
    None,
    [[]],
]


class Recipes:
    """All jobs for one server, derived from a valid token."""

    def __init__(self, alg, valid, own_key, jwk, key_set, issuer):
        self.alg, self.issuer = alg, issuer
        header, payload, _ = valid.split(".")
        self.header, self.claims = json.loads(unb64(header)), json.loads(unb64(payload))
        self.attackers = attackers_keys()
        self.keys = {OWN: own_key} | {f"attacker {name}": key for name, key in self.attackers.items()}
        self.kid = self.header["kid"]
        self.public = public_forms(own_key, jwk or {"kid": self.kid}, key_set)
        self.keys |= {f"public {name}": form for name, form in self.public.items()}

    def job(self, what, head=None, claims=None, alg=None, key=OWN, payload=None):
        """Returns a job for a valid token with these changes. The token is signed with `alg`; `head` may name
        another algorithm."""
        header, all_claims = copy.deepcopy(self.header), copy.deepcopy(self.claims) | {"jti": fresh_jti()}
        header |= {"alg": alg or self.alg} | (head or {})
        all_claims |= claims or {}
        header = {name: value for name, value in header.items() if value is not MISSING}
        all_claims = {name: value for name, value in all_claims.items() if value is not MISSING}
        if payload is None:
            payload = json.dumps(all_claims, separators=(",", ":")).encode()
        return {"what": what, "header": header, "payload": payload, "alg": alg or self.alg, "key": key}

    def valid(self):
        return self.job("valid")

    def all(self):
        yield from self.wrong_claims()
        yield from self.wrong_headers()
        yield from self.wrong_payloads()
        yield from self.public_as_secret()
        yield from self.attackers_signatures()

    def resolve(self, value):
        """Replaces the placeholders of CLAIMS."""
        now = int(time.time())
        placeholders = {
            "PAST": now - 40,
            "FUTURE": now + 600,
            "TEXT": str(now + 900),
            "IN A LIST": [self.issuer],
            "WITH SLASH": self.issuer + "/",
            "UPPER": self.issuer.upper(),
        }
        return placeholders.get(value, value) if isinstance(value, str) else value

    def wrong_claims(self):
        for name, values in CLAIMS.items():
            for value in values:
                yield self.job(f"{name} {value!r:.40}", claims={name: self.resolve(value)})

    def kids(self):
        for kid in KIDS:
            if isinstance(kid, str):
                kid = self.kid.lower() if kid == "kid lower" else kid.replace("KID", self.kid)
            elif isinstance(kid, list):
                kid = [self.kid] * len(kid)
            elif isinstance(kid, dict):
                kid = {name: self.kid for name in kid}
            yield kid

    def wrong_headers(self):
        for value in TYPES:
            yield self.job(f"typ {value!r}", head={"typ": value})
        for value in CRIT:
            yield self.job(f"crit {value!r}", head={"crit": value, "exp": 1})
        for value in (True, False, None, 0, "false"):
            yield self.job(f"b64 {value!r}", head={"b64": value})
            yield self.job(f"b64 {value!r}, critical", head={"b64": value, "crit": ["b64"]})
        for value in ALG_NAMES + [name for name in ALGORITHMS if name != self.alg]:
            yield self.job(f"alg {value!r}", head={"alg": value})
        for kid in self.kids():
            yield self.job(f"kid {kid!r:.40}", head={"kid": kid})
            attacker = f"attacker {self.alg}"
            jwk = public_jwk(self.attackers[self.alg])
            yield self.job(f"kid {kid!r:.40}, attacker's", head={"kid": kid, "jwk": jwk}, key=attacker)
        for other in self.siblings():
            yield self.job(f"our key, {other}", alg=other)
            if self.alg != "EdDSA":  # otherwise the token would be valid
                yield self.job(f"our key, {other} under {self.alg}", head={"alg": self.alg}, alg=other)

    def siblings(self):
        """Returns the other algorithms that the server's key could be used with."""
        if self.alg == "RS256":
            return ["RS384", "RS512", "PS256", "PS384", "PS512"]
        return {"HS256": ["HS384", "HS512"], "EdDSA": ["Ed25519"], "ES256": []}[self.alg]

    def wrong_payloads(self):
        original = json.dumps(self.claims | {"jti": fresh_jti()}, separators=(",", ":"))
        odd = [
            "",
            " ",
            "{}",
            "[]",
            "[{}]",
            "null",
            "true",
            "0",
            '"text"',
            f"[{original}]",
            original[:-1],
            original + "}",
            original + "{}",
            original + "x",
            original + "\0",
            "\ufeff" + original,
            original.replace('"', "'"),
            original[:-1] + ",}",
            original[:-1] + ',"a":NaN}',
            original[:-1] + ',"a":Infinity}',
            original[:-1] + ',"a":01}',
            original[:-1] + ',"a":"\ud800"}',
            original[:-1] + ',"a":"\t"}',
            original[:-1] + "/* */}",
            "// \n" + original,
            original[:-1] + ',"a":' + "[" * 600 + "]" * 600 + "}",
            json.dumps(original),
            b64(original.encode()),
        ]
        for text in odd:
            yield self.job(
                f"payload {text[:8]!r}…{text[-8:]!r}", payload=text.encode("utf-8", "surrogatepass")
            )
        for name, value in self.claims.items():
            field = f"{json.dumps(name)}:{json.dumps(value, separators=(',', ':'))}"
            escaped = '"' + "".join(f"\\u{ord(letter):04x}" for letter in name) + '":null'
            for twice in (field, f"{json.dumps(name)}:null", f'{json.dumps(name)}:"x"', escaped):
                yield self.job(f"{name} twice", payload=f"{original[:-1]},{twice}}}".encode())
                yield self.job(f"{name} twice, first", payload=f"{{{twice},{original[1:]}".encode())
        for name in ("utf-16", "utf-16-le", "utf-32"):
            yield self.job(f"payload in {name}", payload=original.encode(name))
        yield self.job("payload in no encoding", payload=original[:-1].encode() + b',"a":"\xff\xfe"}')
        yield self.job("payload in Latin-1", payload=(original[:-1] + ',"a":"\u00e9"}').encode("latin-1"))
        for size in (4_000, 8_000, 16_000):
            yield self.job(f"{size} bytes more", claims={"more": "x" * size})

    def public_as_secret(self):
        for name in self.public:
            for alg in ("HS256", "HS384", "HS512"):
                if not (self.alg == alg and name == OWN):
                    yield self.job(f"{alg} with {name}", alg=alg, key=f"public {name}")
            yield self.job(
                f"HMAC with {name} under {self.alg}",
                head={"alg": self.alg},
                alg="HS256",
                key=f"public {name}",
            )
            yield self.job(
                f"HMAC with {name}, as none", head={"alg": "none"}, alg="HS256", key=f"public {name}"
            )

    def attackers_signatures(self):
        for alg in ALGORITHMS:
            key, jwk = f"attacker {alg}", public_jwk(self.attackers[alg])
            full_jwk = jwk | {"kid": self.kid, "alg": alg, "use": "sig"}
            heads = {
                "server's kid": {},
                "jwk": {"jwk": jwk},
                "jwk with server's kid": {"jwk": full_jwk},
                "jwk without kid": {"jwk": full_jwk, "kid": MISSING},
                "jwk, server's algorithm": {"jwk": full_jwk, "alg": self.alg},
                "server's algorithm": {"alg": self.alg},
                "jku": {"jku": "http://127.0.0.1:1/keys"},
                "jku of the server": {"jku": f"{self.issuer}/.well-known/jwks.json#@evil.test", "jwk": jwk},
                "x5u": {"x5u": "http://127.0.0.1:1/certificate"},
                "x5c": {"x5c": [base64.b64encode(b"no certificate").decode()]},
                "x5t": {"x5t": self.kid, "x5t#S256": self.kid},
                "another kid": {"kid": "attacker", "jwk": full_jwk},
                "no kid": {"kid": MISSING},
                "typ JWT": {"typ": "JWT"},
                "epk": {"epk": jwk, "apu": "", "apv": ""},
            }
            for name, head in heads.items():
                yield self.job(f"{alg}, {name}", head=head, alg=alg, key=key)
