type Attempts = { failures: number; blockedUntil: number; lastAt: number };
export type SignInLimit = ReturnType<typeof createSignInLimit>;

const freeFailures = 5;
const longestWaitMs = 15 * 60_000;
const forgottenAfterMs = 60 * 60_000;
const mostKeys = 10_000;

/**
 * Back-off for wrong passwords: five are free, then the wait doubles from two seconds. It is counted for an address
 * and e-mail together, and ten times as patiently for the e-mail alone, since the address is the client's word. It lives in this process's memory.
 */
export function createSignInLimit(now: () => number) {
  const attempts = new Map<string, Attempts>();

  function waitOf(key: string): number {
    const entry = attempts.get(key);
    return entry === undefined ? 0 : Math.max(0, entry.blockedUntil - now());
  }

  function addFailure(key: string, free: number): void {
    const before = attempts.get(key);
    const failures = before === undefined || now() - before.lastAt > forgottenAfterMs ? 1 : before.failures + 1;
    const over = failures - free;
    const wait = over < 0 ? 0 : Math.min(longestWaitMs, 2_000 * 2 ** Math.min(over, 20));
    attempts.delete(key); // re-inserted last: the map's order is the order of use
    attempts.set(key, { failures, blockedUntil: now() + wait, lastAt: now() });
    if (attempts.size > mostKeys) {
      const oldest = attempts.keys().next();
      if (!oldest.done) attempts.delete(oldest.value);
    }
  }

  const keys = (email: string, address: string) => [
    { key: `${email} ${address}`, free: freeFailures },
    { key: email, free: freeFailures * 10 },
  ];
  return {
    secondsToWait: (email: string, address: string) =>
      Math.ceil(Math.max(...keys(email, address).map(({ key }) => waitOf(key))) / 1000),
    failed: (email: string, address: string) => {
      for (const { key, free } of keys(email, address)) addFailure(key, free);
    },
    succeeded: (email: string, address: string) => attempts.delete(`${email} ${address}`),
  };
}
