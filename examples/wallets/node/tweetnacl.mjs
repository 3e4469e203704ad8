// Signs a challenge with npm tweetnacl and bs58; the signature in base64.
import bs58 from "bs58";
import nacl from "tweetnacl";
import { main } from "./wallet.mjs";

await main((key) => {
  const pair = nacl.sign.keyPair.fromSeed(key);
  return {
    account: `solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:${bs58.encode(pair.publicKey)}`,
    sign: (bytes) => Buffer.from(nacl.sign.detached(bytes, pair.secretKey)).toString("base64"),
  };
});
