// The words of the page, one file per language. A language that lacks one does not compile.
import { Cell } from "../core/cell";
import { en } from "./en";

export type Messages = typeof en;

export const LANGUAGES = { en: "English", de: "Deutsch" } as const;
export type Language = keyof typeof LANGUAGES;

export const language = new Cell<Messages>(en);

const LOADERS: Record<Language, () => Promise<Messages>> = {
  en: () => Promise.resolve(en),
  de: async () => (await import("./de")).de,
};

export async function setLanguage(code: Language): Promise<void> {
  language.value = await LOADERS[code]();
  document.documentElement.lang = code;
}

/** The language of the browser, if we have it. */
export function preferredLanguage(): Language {
  const known = Object.keys(LANGUAGES) as Language[];
  const wanted = navigator.languages.map((one) => one.slice(0, 2));
  return known.find((code) => code === wanted.find((one) => known.includes(one as Language))) ?? "en";
}
