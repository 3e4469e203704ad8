// Signs a challenge with npm viem.
import { toHex } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { main } from "./wallet.mjs";

await main((key) => {
  const account = privateKeyToAccount(toHex(key));
  return { account: `eip155:1:${account.address}`, sign: (raw) => account.signMessage({ message: { raw } }) };
});
