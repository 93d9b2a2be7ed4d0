// Thumbnails that were shown are kept for a time without the server. The page does it once it is
// quiet: to pass each one through the service worker takes longer than to fetch it.
const NAME = "imagen-thumbnails";
const MOST = 500;
const QUIET = 600;

const shown = new Set<string>();
let fetchedAt = 0;

export function keepThumbnails(): void {
  if (!("caches" in globalThis)) return;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const observer = new PerformanceObserver((list) => {
    const others = (list.getEntries() as PerformanceResourceTiming[]).filter((one) => !isOwn(one));
    if (others.length === 0) return;
    fetchedAt = Date.now();
    for (const { name } of others.filter(isThumbnail)) shown.add(name);
    for (const name of [...shown].slice(0, -MOST)) shown.delete(name);
    clearTimeout(timer);
    timer = setTimeout(() => void keepAll().catch(() => undefined), QUIET);
  });
  observer.observe({ type: "resource", buffered: true });
}

function isThumbnail({ name }: PerformanceResourceTiming): boolean {
  return name.includes("/thumbnail/");
}

/** Whether it was fetched to be kept. */
function isOwn(entry: PerformanceResourceTiming): boolean {
  return isThumbnail(entry) && entry.initiatorType === "fetch";
}

/** Keep them one by one, out of the browser's own cache, until something else is fetched. */
async function keepAll(): Promise<void> {
  if (shown.size === 0) return;
  const cache = await caches.open(NAME);
  for (const name of shown) {
    if (Date.now() - fetchedAt < QUIET) return;
    shown.delete(name);
    if (await cache.match(name) !== undefined) continue;
    const reply = await fetch(name);
    if (reply.ok) await cache.put(name, reply);
  }
  const keys = await cache.keys();
  await Promise.all(keys.slice(0, -MOST).map((key) => cache.delete(key)));
}
