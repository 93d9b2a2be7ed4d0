// Thumbnails that were shown are kept for a time without the server, and the service worker finds
// them. To pass each one through it takes longer than to fetch it, so the page keeps them.
import { quiet } from "./quiet";

const NAME = "imagen-thumbnails";
const MOST = 500;
const QUIET = 600;
const LATEST = 5000;
const shown = new Set<string>();
let keeping: Promise<void> | null = null;

export function keepThumbnails(): void {
  if (!("caches" in globalThis)) return;
  const observer = new PerformanceObserver((list) => {
    const found = (list.getEntries() as PerformanceResourceTiming[]).filter(isShown);
    for (const { name } of found) shown.add(name);
    for (const name of [...shown].slice(0, -MOST)) shown.delete(name);
    if (found.length > 0) keeping ??= keepAll().catch(() => undefined).finally(() => { keeping = null; });
  });
  observer.observe({ type: "resource", buffered: true });
}

function isShown({ name, initiatorType }: PerformanceResourceTiming): boolean {
  return initiatorType === "img" && name.includes("/thumbnail/");
}

/** Keep them one by one, out of the browser's own cache. */
async function keepAll(): Promise<void> {
  const cache = await caches.open(NAME);
  for (const name of shown) {
    await quiet(QUIET, LATEST);
    shown.delete(name);
    if (await cache.match(name) !== undefined) continue;
    const reply = await fetch(name);
    if (reply.ok) await cache.put(name, reply);
  }
  const keys = await cache.keys();
  await Promise.all(keys.slice(0, -MOST).map((key) => cache.delete(key)));
}
