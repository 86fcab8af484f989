"""Says of each token on standard input whether a service in Python takes it.

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
        print("takes", verify(line.strip())["sub"])
    except (JoseError, PyJWTError, ValueError) as error:
        print("refuses", type(error).__name__, str(error).replace("\n", " "))
