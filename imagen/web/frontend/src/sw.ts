// The page opens without the server: its files, the thumbnails and the answers seen last are kept.
// What costs money, or changes anything, never passes through here.
export {};
declare const FILES: readonly string[];
declare const VERSION: string;
const worker = self as unknown as ServiceWorkerGlobalScope;

const SHELL = `imagen-shell-${VERSION}`;
const THUMBNAILS = "imagen-thumbnails";
const SEEN = "imagen-seen";
const MOST: Record<string, number> = { [SEEN]: 300 };
// One in this many kept answers tidies up: a cache has no limit of its own.
const TIDY_EACH = 40;
// Answers are kept once nothing was asked for a moment, or the page would wait for the disk; and
// after some moments at the latest.
const QUIET = 250;
const MOST_MOMENTS = 8;
const opened = new Map<string, Promise<Cache>>();
let kept = 0;
let asked = 0;

interface Routing {
  /** Missing in some browsers. */
  addRoutes?: (rule: { condition: object; source: object }) => Promise<void>;
}

worker.addEventListener("install", (event) => {
  // The browser looks for thumbnails by itself; the page keeps them.
  event.waitUntil((event as Routing).addRoutes?.({
    condition: { urlPattern: `${worker.registration.scope}api/1/images/*/thumbnail/*` },
    source: { cacheName: THUMBNAILS },
  }) ?? Promise.resolve());
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
  asked = Date.now();
  const path = url.pathname.slice(new URL(worker.registration.scope).pathname.length);
  if (path.startsWith("api/1/events") || path.includes("/file") || path.startsWith("api/1/zips")) return;
  if (path.includes("/thumbnail/")) event.respondWith(keptOrFetched(request, THUMBNAILS));
  else if (path.startsWith("api/")) event.respondWith(networkFirst(event, SEEN));
  else if (path === "") event.respondWith(networkFirst(event, SHELL));
  else event.respondWith(keptOrFetched(request, SHELL));
});

async function removeOld(): Promise<void> {
  const names = await caches.keys();
  const old = names.filter((name) => name.startsWith("imagen-shell-") && name !== SHELL);
  await Promise.all(old.map((name) => caches.delete(name)));
}

function open(name: string): Promise<Cache> {
  const cache = opened.get(name) ?? caches.open(name);
  opened.set(name, cache);
  return cache;
}

async function keptOrFetched(request: Request, name: string): Promise<Response> {
  return (await (await open(name)).match(request)) ?? fetch(request);
}

async function networkFirst(event: FetchEvent, name: string): Promise<Response> {
  try {
    return keep(event, name, await fetch(event.request));
  } catch {
    return (await (await open(name)).match(event.request)) ?? new Response("", { status: 503 });
  }
}

function keep(event: FetchEvent, name: string, reply: Response): Response {
  if (reply.ok) event.waitUntil(put(name, event.request, reply.clone()).catch(() => undefined));
  return reply;
}

async function put(name: string, request: Request, reply: Response): Promise<void> {
  await quiet();
  const cache = await open(name);
  await cache.put(request, reply);
  await tidy(cache, name);
}

async function quiet(): Promise<void> {
  for (let moment = 0; moment < MOST_MOMENTS; moment += 1) {
    await new Promise((done) => setTimeout(done, QUIET));
    if (Date.now() - asked >= QUIET) return;
  }
}

async function tidy(cache: Cache, name: string): Promise<void> {
  const most = MOST[name];
  kept += 1;
  if (most === undefined || kept % TIDY_EACH !== 0) return;
  const keys = await cache.keys();
  await Promise.all(keys.slice(0, Math.max(0, keys.length - most)).map((key) => cache.delete(key)));
}
