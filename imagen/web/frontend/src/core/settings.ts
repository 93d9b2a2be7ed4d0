// What this browser remembers about the page. A host without storage remembers nothing.
import { Cell } from "./cell";

export type Theme = "auto" | "light" | "dark";

function remembered<T extends string | number | boolean>(name: string, otherwise: T): Cell<T> {
  const cell = new Cell<T>(otherwise);
  try {
    const text = localStorage.getItem(`imagen.${name}`);
    if (text !== null) cell.value = JSON.parse(text) as T;
    cell.listen((value) => localStorage.setItem(`imagen.${name}`, JSON.stringify(value)));
  } catch {
    // Storage is switched off, or holds what is not ours.
  }
  return cell;
}

export const theme = remembered<Theme>("theme", "auto");
export const languageCode = remembered<string>("language", "");
export const tileSize = remembered<number>("tile", 184);

export function followTheme(): void {
  const show = (value: Theme): void => {
    if (value === "auto") delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = value;
  };
  theme.listen(show);
  show(theme.value);
}
