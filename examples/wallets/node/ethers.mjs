// Signs a challenge with npm ethers.
import { Wallet, hexlify } from "ethers";
import { main } from "./wallet.mjs";

await main((key) => {
  const wallet = new Wallet(hexlify(key));
  return { account: `eip155:1:${wallet.address}`, sign: (bytes) => wallet.signMessage(bytes) };
});
