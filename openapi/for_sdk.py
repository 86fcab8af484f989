#!/usr/bin/env python3
"""Prints openapi.json without the 204 responses that only a token without the scope `trips:read` gets.

Without this, SDKs type the result of each write to a trip as "a trip or nothing". The server's responses stay the same.
"""

import json
from pathlib import Path

document = json.loads((Path(__file__).parent / "openapi.json").read_text(encoding="utf-8"))
for item in document["paths"].values():
    for operation in item.values():
        responses = operation["responses"]
        if "204" in responses and {"200", "201"} & responses.keys():
            del responses["204"]
print(json.dumps(document, ensure_ascii=False, indent=2))
