// The page opens without the server: its files, the thumbnails and the answers seen last are kept.
// What costs money, or changes anything, never passes through here.
export {};
declare const FILES: readonly string[];
declare const VERSION: string;
const worker = self as unknown as ServiceWorkerGlobalScope;

const SHELL = `imagen-shell-${VERSION}`;
const THUMBNAILS = "imagen-thumbnails";
const SEEN = "imagen-seen";
const MOST_SEEN = 300;
const MOST: Record<string, number> = { [SEEN]: MOST_SEEN };
// One in this many kept answers tidies up: a cache has no limit of its own.
const TIDY_EACH = 40;
// Answers are kept once nothing was asked for a moment, or the page would wait for the disk; and
// one after some moments at the latest.
const QUIET = 250;
const MOST_MOMENTS = 8;
const opened = new Map<string, Promise<Cache>>();
const waiting = new Map<string, Answer>();
let keeping: Promise<void> | null = null;
let kept = 0;
let asked = 0;

interface Answer {
  readonly name: string;
  readonly request: Request;
  readonly reply: Response;
}

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
    return waiting.get(event.request.url)?.reply.clone()
      ?? (await (await open(name)).match(event.request)) ?? new Response("", { status: 503 });
  }
}

function keep(event: FetchEvent, name: string, reply: Response): Response {
  if (!reply.ok) return reply;
  waiting.set(event.request.url, { name, request: event.request, reply: reply.clone() });
  const [oldest] = waiting.keys();
  if (waiting.size > MOST_SEEN && oldest !== undefined) waiting.delete(oldest);
  keeping ??= keepWaiting().finally(() => { keeping = null; });
  event.waitUntil(keeping);
  return reply;
}

/** Keep the answers one by one; of the same request the last. */
async function keepWaiting(): Promise<void> {
  while (waiting.size > 0) {
    await quiet();
    const [url, answer] = waiting.entries().next().value!;
    waiting.delete(url);
    await put(answer).catch(() => undefined);
  }
}

async function put({ name, request, reply }: Answer): Promise<void> {
  const cache = await open(name);
  await cache.put(request, reply);
  await tidy(cache, name);
}

async function quiet(): Promise<void> {
  for (let moment = 0; moment < MOST_MOMENTS; moment += 1) {
    if (Date.now() - asked >= QUIET) return;
    await new Promise((done) => setTimeout(done, QUIET));
  }
}

async function tidy(cache: Cache, name: string): Promise<void> {
  const most = MOST[name];
  kept += 1;
  if (most === undefined || kept % TIDY_EACH !== 0) return;
  const keys = await cache.keys();
  await Promise.all(keys.slice(0, Math.max(0, keys.length - most)).map((key) => cache.delete(key)));
}
