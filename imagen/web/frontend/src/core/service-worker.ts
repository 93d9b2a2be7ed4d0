// The service worker fetches every file of the page when it is registered. So it is, once nothing
// else was fetched for a moment.
import { quiet } from "./quiet";

const QUIET = 1500;
const LATEST = 60_000;

export async function registerWorker(): Promise<void> {
  if (!("serviceWorker" in navigator)) return;
  await quiet(QUIET, LATEST);
  await navigator.serviceWorker.register("./sw.js").catch(() => undefined);
}
