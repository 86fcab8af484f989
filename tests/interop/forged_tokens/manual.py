"""Modifies valid tokens without a library: alters, cuts, swaps and re-encodes their parts."""

import base64
import json

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from keys import b64, unb64
from recipes import ALG_NAMES, ALGORITHMS, MISSING

# The orders of P-256 and of Ed25519. Ed25519 encodes numbers with the least significant byte first (RFC 8032).
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
L = 2**252 + 27742317777372353535851937790883648493
STANDARD = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def all_of(recipes, valid, other, foreign, other_secrets):
    """Yields all tokens. `valid` and `other` are tokens of two users, `foreign` is one of another server,
    and `other_secrets` are values that are not access tokens."""
    yield from unsigned(recipes, valid)
    yield from signatures(recipes, valid)
    yield from swapped(valid, other, foreign)
    yield from encodings(valid)
    yield from headers(recipes, valid)
    yield "of another server", foreign
    for name, token in other_secrets.items():
        yield name, token
        yield f"{name}, in three parts", f"{valid.split('.')[0]}.{b64(token.encode())}.{valid.split('.')[2]}"
    yield from ((f"foreign {number}", token) for number, token in enumerate(FOREIGN))


def unsigned(recipes, valid):
    _, payload, signature = valid.split(".")
    for alg in ALG_NAMES:
        head = {"typ": "at+jwt", "alg": alg, "kid": recipes.kid}
        head = b64(json.dumps({name: value for name, value in head.items() if value is not MISSING}).encode())
        for name, end in {
            "empty signature": ".",
            "no third part": "",
            "short signature": ".AA",
            "original signature": f".{signature}",
        }.items():
            yield f"alg {alg!r:.20}, {name}", f"{head}.{payload}{end}"


def signatures(recipes, valid):
    signing_input, signature = valid.rsplit(".", 1)
    raw = unb64(signature)
    size = len(raw)
    forms = {
        f"bit {at}": raw[: at // 8] + bytes([raw[at // 8] ^ 1 << at % 8]) + raw[at // 8 + 1 :]
        for at in range(0, 8 * size, 3)
    }
    forms |= {f"first {length}": raw[:length] for length in range(0, size, 4)}
    forms |= {f"{fill:02x} repeated": bytes([fill]) * size for fill in (0, 1, 0x7F, 0x80, 0xFF)}
    forms |= {f"{more} zeros after": raw + bytes(more) for more in (1, 2, 32, 64)}
    forms |= {f"{more} zeros before": bytes(more) + raw for more in (1, 2, 32)}
    forms |= {"backwards": raw[::-1], "twice": raw * 2, "halves swapped": raw[size // 2 :] + raw[: size // 2]}
    forms |= {
        "in base64": base64.b64encode(raw),
        "in hex": raw.hex().encode(),
        "the text itself": signature.encode(),
    }
    if recipes.alg == "ES256":
        numbers = [int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")]
        special = [0, 1, 2, N - 1, N, N + 1, 2**256 - 1, *numbers]
        pairs = [(r, s) for r in special for s in special if (r, s) != tuple(numbers)]
        forms |= {
            f"r, s {number}": r.to_bytes(32, "big") + s.to_bytes(32, "big")
            for number, (r, s) in enumerate(pairs)
        }
        forms["DER"] = encode_dss_signature(*numbers)
        forms |= {f"DER {number}": encode_dss_signature(r, s) for number, (r, s) in enumerate(pairs)}
        forms |= {
            f"{width} bytes a number": b"".join(n.to_bytes(width, "big") for n in numbers)
            for width in (33, 48, 66)
        }
    if recipes.alg == "EdDSA":
        r, s = raw[:32], int.from_bytes(raw[32:], "little")
        forms |= {f"S + {times} L": r + (s + times * L).to_bytes(32, "little") for times in range(1, 15)}
        # Points of small order (RFC 8032 §8.9 and lists derived from it).
        small = [
            bytes(32),
            b"\1" + bytes(31),
            b"\xec" + b"\xff" * 30 + b"\x7f",
            b"\xed" + b"\xff" * 30 + b"\x7f",
            b"\1" + bytes(30) + b"\x80",
        ]
        forms |= {
            f"small R {n}, S {m}": point + end.to_bytes(32, "little")
            for n, point in enumerate(small)
            for m, end in enumerate((0, 1, s, L, L - 1))
        }
    if recipes.alg == "RS256":
        n = unb64(recipes.own_jwk["n"])
        modulus = int.from_bytes(n, "big")
        for value in (
            0,
            1,
            2,
            modulus - 1,
            modulus,
            int.from_bytes(raw, "big") + modulus,
            modulus - int.from_bytes(raw, "big"),
        ):
            forms[f"number {value % 1000}"] = value.to_bytes(257, "big").lstrip(b"\0") or b"\0"
            forms[f"number {value % 1000}, wide"] = value.to_bytes(257, "big")
        forms["no hash"] = b"\0\1" + b"\xff" * 202 + b"\0" + bytes(51)
    for name, form in forms.items():
        yield f"signature {name}", f"{signing_input}.{b64(form)}"


def swapped(*tokens):
    parts = [token.split(".") for token in tokens]
    for a in range(3):
        for b in range(3):
            for c in range(3):
                token = ".".join((parts[a][0], parts[b][1], parts[c][2]))
                # Tokens that are signed with the same key have the same header, so some combinations are
                # valid.
                if token not in tokens:
                    yield f"parts of {a} {b} {c}", token
    for token in parts:
        for order in (
            (0, 2, 1),
            (1, 0, 2),
            (1, 2, 0),
            (2, 0, 1),
            (2, 1, 0),
            (0, 0, 0),
            (1, 1, 1),
            (2, 2, 2),
            (0, 0, 1),
            (0, 1, 1),
        ):
            yield f"order {order}", ".".join(token[part] for part in order)


def encodings(valid):
    header, payload, signature = parts = valid.split(".")
    for at in range(3):

        def put(text, at=at):
            return ".".join(text if part == at else parts[part] for part in range(3))

        part, raw = parts[at], unb64(parts[at])
        for name, text in {
            "padded": part + "=",
            "padded twice": part + "==",
            "padded before": "=" + part,
            "hex": raw.hex(),
            "base32": base64.b32encode(raw).decode(),
            "base85": base64.b85encode(raw).decode().replace(".", ","),
            "again": b64(part.encode()),
            "empty": "",
            "space": part[:9] + " " + part[9:],
            "space after": part + " x",
            "tab": part[:9] + "\t" + part[9:],
            "plus": part[:8] + "+" + part[9:],
            "slash": part[:8] + "/" + part[9:],
            "percent": part[:8] + "%41" + part[9:],
            "quoted": f'"{part}"',
            "lower": part.lower(),
            "upper": part.upper(),
            "backwards": part[::-1],
            "cut": part[:-1],
            "cut twice": part[:-2],
            "one more": part + "A",
            "four more": part + "AAAA",
            "tilde": part + "~",
            "null": "null",
            "star": part[:8] + "*" + part[9:],
            "Latin-1": part[:8] + "\xe9" + part[9:],
            "comma": part + ",",
            "semicolon": part + ";",
            "newline": part + "%0A",
        }.items():
            yield f"part {at} {name}", put(text)
        for offset in range(0, len(part), max(1, len(part) // 40)):
            letter = STANDARD[(STANDARD.index(part[offset]) + 1) % 64]
            yield f"part {at} altered at {offset}", put(part[:offset] + letter + part[offset + 1 :])
        # The unused bits after the last byte, which a lenient decoder ignores.
        if spare := {2: 4, 3: 2}.get(len(part) % 4, 0):
            for bits in range(1, 1 << spare):
                yield (
                    f"part {at} spare bits {bits}",
                    put(part[:-1] + STANDARD[STANDARD.index(part[-1]) ^ bits]),
                )
    yield from (
        (f"token {number}", token)
        for number, token in enumerate(
            [
                f".{valid}",
                f"{valid}.",
                f"{valid}..",
                f"..{valid}",
                f"{valid}.{valid}",
                f"{valid}.AA",
                f"{valid}.AA.AA",
                f"{header}..{payload}.{signature}",
                f"{header}.{payload}",
                f"{header}..{signature}",
                f".{payload}.{signature}",
                header,
                payload,
                signature,
                "..",
                "...",
                "....",
                ".",
                f"{valid},{valid}",
                f"{valid} {valid}",
                f"Bearer {valid}",
                f'"{valid}"',
                f"'{valid}'",
                f"<{valid}>",
                f"{valid}?x",
                f"{valid}#x",
                f"{valid};v=1",
                f"{valid}/",
                f"token={valid}",
                b64(valid.encode()),
                base64.b64encode(valid.encode()).decode(),
                valid.encode().hex(),
                valid.replace(".", ":"),
                valid.replace(".", "%2E"),
                valid.replace(".", "。".encode().decode("latin-1")),
                valid.lower(),
                valid.upper(),
                valid.swapcase(),
                valid[::-1],
                valid[1:],
                valid[:-1],
                valid + "A",
                "A" + valid,
                valid[: len(valid) // 2],
                valid * 4,
                valid * 20,
                "x" * 20_000,
                "." * 20_000,
                "eyJ" * 3_000,
                f"{header}.{payload}.{'A' * 20_000}",
                f"{'A' * 20_000}.{payload}.{signature}",
                f"{header}.{'A' * 20_000}.{signature}",
            ]
        )
    )


def headers(recipes, valid):
    """Yields headers that no library writes, with a valid token's payload and signature."""
    _, payload, signature = valid.split(".")
    head = json.dumps({"typ": "at+jwt", "alg": recipes.alg, "kid": recipes.kid}, separators=(",", ":"))
    odd = [
        "",
        " ",
        "{}",
        "[]",
        "null",
        "true",
        "0",
        '"x"',
        f"[{head}]",
        head[:-1],
        head + "}",
        head + "x",
        "\ufeff" + head,
        head.replace('"', "'"),
        head[:-1] + ",}",
        json.dumps(head),
        head[:-1] + ',"a":' + "[" * 600 + "]" * 600 + "}",
        head[:-1] + ',"a":NaN}',
        head[:-1] + ',"a":"\ud800"}',
        head + "\0",
    ]
    for name in ("alg", "typ", "kid"):
        value = json.loads(head)[name]
        for twice in (
            f'"{name}":"{value}"',
            f'"{name}":"none"',
            f'"{name}":null',
            "".join(f"\\u{ord(letter):04x}" for letter in name).join('""') + ':"none"',
        ):
            odd += [f"{head[:-1]},{twice}}}", f"{{{twice},{head[1:]}"]
    for text in odd:
        yield f"header {text[:20]!r}", f"{b64(text.encode('utf-8', 'surrogatepass'))}.{payload}.{signature}"
    for name in ("utf-16", "utf-32"):
        yield f"header in {name}", f"{b64(head.encode(name))}.{payload}.{signature}"
    for alg in ALGORITHMS:
        if alg != recipes.alg:
            yield (
                f"{alg}, original signature",
                f"{b64(head.replace(recipes.alg, alg).encode())}.{payload}.{signature}",
            )


# Tokens in other formats (the examples of RFC 7515 A.1, A.3 and A.5, PASETO, Branca, a macaroon and Fernet),
# then texts that an attacker might try by hand.
FOREIGN = [
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    "eyJhbGciOiJub25lIn0.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.",
    "v2.local.97TTOvgwIxNGvV80XKiGZg_kD3tsXM_-qB4dZGHOeN1cTkgQ4PnW8888l802W8d9AvEGnoNBY3BnqHORy8a5cC8aKpbA0En8XELw2yDk2f1sVODyfnDbi6rEGMY3pSfCbLWMM2oHJxvlEl2XbQ",
    "v4.public.eyJkYXRhIjoidGhpcyBpcyBhIHNpZ25lZCBtZXNzYWdlIn0bg_XBBzds8lTZShVlwwKSgeKpLT3yukTw6JUz3W4h_ExsQV-P0V54zemZDcAxFaSeef1QlXEFtkqxT1ciiQEDA",
    "870S4BYxgHw0KnP3W9fgVUHEhT5g86vJ17etaC5Kh5uIraWHCI1psNQGv298ZmjPwoYbjDQ9chy2z",
    "MDAyMWxvY2F0aW9uIGh0dHA6Ly9leGFtcGxlLm9yZy8KMDAxNWlkZW50aWZpZXIga2V5aWQKMDAyZnNpZ25hdHVyZSDjcHkbAxn0A_xqnz7v3bH1Nwv4gg",
    "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==",
    *(
        "null",
        "undefined",
        "none",
        "0",
        "1",
        "true",
        "admin",
        "[object Object]",
        "NaN",
        "-",
        "{}",
        "[]",
        "Bearer",
        "token",
        "%00",
        "../../data/secret",
        "' OR 1=1 --",
        "*",
        "\xff\xfe",
        "=" * 40,
    ),
]
