/** Said to the person as it stands. `usage`: what was typed is at fault, and the exit status is 2 instead of 1. */
export class CliError extends Error {
  readonly advice: string | null;
  readonly usage: boolean;

  constructor(message: string, { advice = null, usage = false }: { advice?: string | null; usage?: boolean } = {}) {
    super(message);
    this.advice = advice;
    this.usage = usage;
  }
}
