const KEEP_ALIVE_MS = 15_000;

/**
 * Server-sent events from a generator that reads with `abort.signal`. When the client leaves, the signal stops what is being
 * waited for and the generator's `finally` runs to its end: that is where the bill is written.
 */
export function eventStream(lines: AsyncGenerator<string>, abort: AbortController, headers: Headers): Response {
  const encoder = new TextEncoder();
  let keepAlive: NodeJS.Timeout | undefined;
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      keepAlive = setInterval(() => controller.enqueue(encoder.encode(": keep-alive\n\n")), KEEP_ALIVE_MS);
    },
    async pull(controller) {
      try {
        const next = await lines.next();
        if (!next.done) return controller.enqueue(encoder.encode(`data: ${next.value}\n\n`));
        clearInterval(keepAlive);
        controller.close();
      } catch (error) {
        clearInterval(keepAlive);
        if (!abort.signal.aborted) controller.error(error);
      }
    },
    async cancel() {
      clearInterval(keepAlive);
      abort.abort();
      await lines.return(undefined).catch(() => undefined);
    },
  });
  const all = new Headers(headers);
  all.set("content-type", "text/event-stream");
  all.set("cache-control", "no-cache");
  all.set("x-accel-buffering", "no");
  return new Response(body, { status: 200, headers: all });
}
