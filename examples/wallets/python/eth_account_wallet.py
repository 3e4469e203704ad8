"""Signs a challenge with PyPI's eth-account.

usage: PRIVATE_KEY=<32 bytes in hex> python eth_account_wallet.py account | sign <challenge, base64>
"""

import base64
import os
import sys

from eth_account import Account
from eth_account.messages import encode_defunct

wallet = Account.from_key(os.environ["PRIVATE_KEY"])
match sys.argv[1:]:
    case ["account"]:
        print(f"eip155:1:{wallet.address}")
    case ["sign", challenge]:
        # The bytes inside are signed, not the base64.
        signed = wallet.sign_message(encode_defunct(base64.b64decode(challenge)))
        print(base64.b64encode(signed.signature).decode())
    case _:
        sys.exit(__doc__)
