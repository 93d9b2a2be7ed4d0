// Thumbnails that were shown are kept for a time without the server. The page does it once it is
// quiet: to pass each one through the service worker takes longer than to fetch it.
const NAME = "imagen-thumbnails";
const MOST = 500;
const QUIET = 600;

export function keepThumbnails(): void {
  if (!("caches" in globalThis)) return;
  const shown = new Set<string>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const observer = new PerformanceObserver((list) => {
    const found = (list.getEntries() as PerformanceResourceTiming[]).filter(isThumbnail);
    for (const { name } of found) shown.add(name);
    for (const name of [...shown].slice(0, -MOST)) shown.delete(name);
    if (found.length === 0) return;
    clearTimeout(timer);
    timer = setTimeout(() => void keepAll(shown).catch(() => undefined), QUIET);
  });
  observer.observe({ type: "resource", buffered: true });
}

function isThumbnail({ name, initiatorType }: PerformanceResourceTiming): boolean {
  return initiatorType === "img" && name.includes("/thumbnail/");
}

/** Keep them one by one, out of the browser's own cache. */
async function keepAll(names: Set<string>): Promise<void> {
  const cache = await caches.open(NAME);
  for (const name of names) {
    names.delete(name);
    if (await cache.match(name) !== undefined) continue;
    const reply = await fetch(name);
    if (reply.ok) await cache.put(name, reply);
  }
  const keys = await cache.keys();
  await Promise.all(keys.slice(0, -MOST).map((key) => cache.delete(key)));
}
