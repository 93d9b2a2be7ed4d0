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

export function go(link: string, replace = false): void {
  if (replace) {
    history.replaceState(null, "", link);
    route.value = parse(link);
  } else location.hash = link;
}

export function followAddress(): void {
  addEventListener("hashchange", () => { route.value = parse(location.hash); });
}
