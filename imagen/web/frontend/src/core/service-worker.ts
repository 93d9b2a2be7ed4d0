// The service worker fetches every file of the page when it is registered. So it is, once nothing
// else was fetched for a moment.
const QUIET = 1500;
const LATEST = 60_000;
// Replies that the page needs without the server.
const NEEDED = /\/api\/1\/((?:state|models|styles|timeline|tags|collections)(?=\?|$)|images(?=\?)|days(?=\/))/;

export function registerWorker(): void {
  if (!("serviceWorker" in navigator)) return;
  const latest = Date.now() + LATEST;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const observer = new PerformanceObserver(() => wait());
  const register = (): void => {
    observer.disconnect();
    void navigator.serviceWorker.register("./sw.js").catch(() => undefined);
  };
  const wait = (): void => {
    clearTimeout(timer);
    timer = setTimeout(register, Math.min(QUIET, Math.max(0, latest - Date.now())));
  };
  observer.observe({ type: "resource" });
  wait();
  if (navigator.serviceWorker.controller !== null) return;
  navigator.serviceWorker.addEventListener("controllerchange", () => void readAgain(), { once: true });
}

/**
 * The worker keeps what passes through it: so what came before it passes again, of each kind the
 * first, with which the page opens, and the last, which is seen now.
 */
async function readAgain(): Promise<void> {
  const first = new Map<string, string>();
  const last = new Map<string, string>();
  for (const { name } of performance.getEntriesByType("resource")) {
    const kind = NEEDED.exec(name)?.[1];
    if (kind === undefined) continue;
    if (!first.has(kind)) first.set(kind, name);
    last.set(kind, name);
  }
  for (const name of new Set([...first.values(), ...last.values()])) {
    await fetch(name).catch(() => undefined);
  }
}
