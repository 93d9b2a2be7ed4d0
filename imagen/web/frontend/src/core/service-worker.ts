// The service worker fetches every file of the page when it is registered. So it is, once nothing
// else was fetched for a moment.
const QUIET = 1500;
const LATEST = 20_000;

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
}
