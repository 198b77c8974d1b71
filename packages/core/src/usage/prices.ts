import type { PriceList } from "@grove/contracts/usage";

const MILLION = 1_000_000n;

/** Micro-dollars per million tokens. A quote and its invoice both come from here. */
export const prices: PriceList = {
  trainPerMillion: 500_000n, // $0.50
  promptPerMillion: 100_000n, // $0.10
  completionPerMillion: 200_000n, // $0.20
};

export function priceTraining(tokens: bigint): bigint {
  return divideUp(tokens * prices.trainPerMillion);
}

/** Both sides are added before rounding: one act is rounded up once. */
export function priceInference(promptTokens: number, completionTokens: number): bigint {
  return divideUp(
    BigInt(promptTokens) * prices.promptPerMillion + BigInt(completionTokens) * prices.completionPerMillion,
  );
}

function divideUp(amount: bigint): bigint {
  return (amount + MILLION - 1n) / MILLION;
}
