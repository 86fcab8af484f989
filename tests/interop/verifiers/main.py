"""Verifies each token on standard input with a Python example of docs/services.md and prints the result.

    main.py MODULE ISSUER AUDIENCE
"""

import importlib
import sys

from joserfc.errors import JoseError
from jwt import PyJWTError

sys.dont_write_bytecode = True
module, issuer, audience = sys.argv[1:]
verify = importlib.import_module(module).verifier(issuer, audience)
for line in sys.stdin:
    try:
        print("accepts", verify(line.strip())["sub"])
    except (JoseError, PyJWTError, ValueError) as error:
        print("rejects", type(error).__name__, str(error).replace("\n", " "))
