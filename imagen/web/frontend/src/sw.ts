// The page opens without the server: its files, the thumbnails and the answers seen last are kept.
// What costs money, or
// changes anything, never passes through here.
export {};
declare const FILES: readonly string[];
declare const VERSION: string;
const worker = self as unknown as ServiceWorkerGlobalScope;

const SHELL = `imagen-shell-${VERSION}`;
const THUMBNAILS = "imagen-thumbnails";
const SEEN = "imagen-seen";
const MOST: Record<string, number> = { [THUMBNAILS]: 500, [SEEN]: 300 };
// One in this many kept answers tidies up: a cache has no limit of its own.
const TIDY_EACH = 40;
let kept = 0;

worker.addEventListener("install", (event) => {
  event.waitUntil(caches.open(SHELL)
    .then((cache) => cache.addAll(["./", ...FILES.filter((name) => name !== "index.html")]))
    .then(() => worker.skipWaiting()));
});

worker.addEventListener("activate", (event) => {
  event.waitUntil(removeOld().then(() => worker.clients.claim()));
});

worker.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== location.origin) return;
  const path = url.pathname.slice(new URL(worker.registration.scope).pathname.length);
  if (path.startsWith("api/1/events") || path.includes("/file") || path.startsWith("api/1/zips")) return;
  if (path.includes("/thumbnail/")) event.respondWith(cacheFirst(request, THUMBNAILS));
  else if (path.startsWith("api/")) event.respondWith(networkFirst(request, SEEN));
  else if (path === "") event.respondWith(networkFirst(request, SHELL));
  else event.respondWith(cacheFirst(request, SHELL));
});

async function removeOld(): Promise<void> {
  const names = await caches.keys();
  const old = names.filter((name) => name.startsWith("imagen-shell-") && name !== SHELL);
  await Promise.all(old.map((name) => caches.delete(name)));
}

async function cacheFirst(request: Request, name: string): Promise<Response> {
  const cache = await caches.open(name);
  return (await cache.match(request)) ?? keep(cache, name, request, await fetch(request));
}

async function networkFirst(request: Request, name: string): Promise<Response> {
  const cache = await caches.open(name);
  try {
    return keep(cache, name, request, await fetch(request));
  } catch {
    return (await cache.match(request)) ?? new Response("", { status: 503 });
  }
}

function keep(cache: Cache, name: string, request: Request, reply: Response): Response {
  if (reply.ok) {
    const copy = reply.clone();
    void cache.put(request, copy).then(() => tidy(cache, name)).catch(() => undefined);
  }
  return reply;
}

async function tidy(cache: Cache, name: string): Promise<void> {
  const most = MOST[name];
  kept += 1;
  if (most === undefined || kept % TIDY_EACH !== 0) return;
  const keys = await cache.keys();
  await Promise.all(keys.slice(0, Math.max(0, keys.length - most)).map((key) => cache.delete(key)));
}
