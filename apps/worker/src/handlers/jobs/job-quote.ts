import type { jobQuote } from "@grove/contracts/messages";
import type { Services } from "@grove/core/context";
import { runQuote } from "@grove/core/jobs/run-quote";
import type { Handler } from "@grove/queue/consume";

export function jobQuoteHandler(services: Services): Handler<typeof jobQuote.payload> {
  return (message, { signal }) => runQuote(services, message, signal);
}
