// Replies of the API are kept for a time without the server, by their URL. The page does it, not
// the service worker: a call through the worker takes twice as long.
import { quiet } from "./quiet";

const NAME = "imagen-seen";
const MOST = 300;
const QUIET = 250;
const LATEST = 2000;
const HEADERS = { "Content-Type": "application/json" };
const waiting = new Map<string, string>();
let keeping: Promise<void> | null = null;

export function keepReply(url: string, text: string): void {
  if (!("caches" in globalThis)) return;
  waiting.delete(url);
  waiting.set(url, text);
  const [oldest] = waiting.keys();
  if (waiting.size > MOST && oldest !== undefined) waiting.delete(oldest);
  keeping ??= keepAll().catch(() => undefined).finally(() => { keeping = null; });
}

export async function keptReply(url: string): Promise<string | undefined> {
  if (!("caches" in globalThis)) return undefined;
  return waiting.get(url) ?? (await (await caches.open(NAME)).match(url))?.text();
}

async function keepAll(): Promise<void> {
  const cache = await caches.open(NAME);
  for (const url of waiting.keys()) {
    await quiet(QUIET, LATEST);
    const text = waiting.get(url);
    if (text !== undefined) await cache.put(url, new Response(text, { headers: HEADERS }));
    if (waiting.get(url) === text) waiting.delete(url);
  }
  const keys = await cache.keys();
  await Promise.all(keys.slice(0, -MOST).map((key) => cache.delete(key)));
}
