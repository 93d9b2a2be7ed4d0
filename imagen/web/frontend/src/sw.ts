// The page opens without the server: its files are kept here. The page keeps the replies and the
// thumbnails seen last. What costs money, or changes anything, never passes through here.
export {};
declare const FILES: readonly string[];
declare const VERSION: string;
const worker = self as unknown as ServiceWorkerGlobalScope;

const SHELL = `imagen-shell-${VERSION}`;
const THUMBNAILS = "imagen-thumbnails";

interface Routing {
  /** Missing in some browsers. */
  addRoutes?: (rules: readonly { condition: object; source: string | object }[]) => Promise<void>;
}

worker.addEventListener("install", (event) => {
  // The browser then goes by itself, without starting the worker.
  event.waitUntil((event as Routing).addRoutes?.([
    { condition: under("api/1/images/*/thumbnail/*"), source: { cacheName: THUMBNAILS } },
    { condition: under("api/*"), source: "network" },
  ]).catch(() => undefined) ?? Promise.resolve());
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
  if (path.startsWith("api/")) {
    if (path.includes("/thumbnail/")) event.respondWith(keptOrFetched(request, THUMBNAILS));
  } else if (path === "") event.respondWith(fetchedOrKept(event));
  else event.respondWith(keptOrFetched(request, SHELL));
});

function under(path: string): object {
  return { urlPattern: worker.registration.scope + path };
}

async function removeOld(): Promise<void> {
  const names = await caches.keys();
  const old = names.filter((name) => name.startsWith("imagen-shell-") && name !== SHELL);
  await Promise.all(old.map((name) => caches.delete(name)));
}

async function keptOrFetched(request: Request, name: string): Promise<Response> {
  return (await (await caches.open(name)).match(request)) ?? fetch(request);
}

async function fetchedOrKept(event: FetchEvent): Promise<Response> {
  let reply: Response;
  try {
    reply = await fetch(event.request);
  } catch {
    return (await (await caches.open(SHELL)).match(event.request)) ?? Response.error();
  }
  if (reply.ok) event.waitUntil(keep(event.request, reply.clone()).catch(() => undefined));
  return reply;
}

async function keep(request: Request, reply: Response): Promise<void> {
  await (await caches.open(SHELL)).put(request, reply);
}
