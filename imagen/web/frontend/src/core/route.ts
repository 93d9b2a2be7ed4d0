// Views by deep link: `#/`, `#/image/ID`, `#/edit/ID`, `#/compare/ID,ID`, `#/spending`, ...
// The fragment needs nothing of the server, below any prefix and without it.
import { Cell } from "./cell";

export interface Route {
  readonly view: string;
  readonly rest: string;
  readonly query: URLSearchParams;
}

export const route = new Cell<Route>(parse(globalThis.location?.hash ?? ""));

export function parse(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const [view = "", ...rest] = path.split("/");
  return { view, rest: decodeURIComponent(rest.join("/")), query: new URLSearchParams(query) };
}

export function linkTo(view: string, rest = "", query?: URLSearchParams): string {
  const tail = rest === "" ? "" : `/${encodeURIComponent(rest)}`;
  const asked = query?.toString() ?? "";
  return `#/${view}${tail}${asked === "" ? "" : `?${asked}`}`;
}

// With each new address Chromium reads the icon again: while one types, the address waits.
const PAUSE = 200;
let waiting: string | null = null;
let timer: ReturnType<typeof setTimeout> | undefined;

export function go(link: string, replace = false): void {
  if (replace) {
    waiting = link;
    route.value = parse(link);
    clearTimeout(timer);
    timer = setTimeout(writeAddress, PAUSE);
  } else {
    writeAddress();
    location.hash = link;
  }
}

function writeAddress(): void {
  clearTimeout(timer);
  if (waiting !== null) history.replaceState(null, "", waiting);
  waiting = null;
}

export function followAddress(): void {
  addEventListener("pagehide", writeAddress);
  addEventListener("hashchange", () => {
    waiting = null;
    route.value = parse(location.hash);
  });
}
