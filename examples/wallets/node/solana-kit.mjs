// Signs a challenge with npm @solana/kit; the signature in base58, as Solana's tools show it.
import { createKeyPairFromPrivateKeyBytes, getAddressFromPublicKey, getBase58Decoder, signBytes } from "@solana/kit";
import { main } from "./wallet.mjs";

await main(async (key) => {
  const pair = await createKeyPairFromPrivateKeyBytes(key);
  return {
    account: `solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:${await getAddressFromPublicKey(pair.publicKey)}`,
    sign: async (bytes) => getBase58Decoder().decode(await signBytes(pair.privateKey, bytes)),
  };
});
