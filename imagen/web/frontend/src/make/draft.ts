// What is being written in the dialog. It is kept in the browser and survives a reload.
import { Cell } from "../core/cell";
import { session } from "../core/session";
import type { ImageRequest, Input, Value } from "../core/api";
import { kept, keep } from "../core/storage";

export type Values = Readonly<Record<string, Value>>;

export interface Reference {
  readonly input: Input;
  readonly name: string;
  readonly preview: string;
}

export interface Draft {
  readonly prompt: string;
  readonly models: readonly string[];
  readonly styles: readonly string[];
  /** Whether each style makes its own images, instead of all styles the same ones. */
  readonly isStyleEach: boolean;
  readonly values: Values;
  /** Values of the variables of the prompt. */
  readonly variables: Readonly<Record<string, string>>;
  readonly references: readonly Reference[];
  readonly count: number;
}

const EMPTY: Draft = {
  prompt: "", models: [], styles: [], isStyleEach: false, values: {}, variables: {}, references: [], count: 1,
};
const PAUSE = 80;

export const draft = new Cell<Draft>(EMPTY);

export async function rememberDraft(): Promise<void> {
  const earlier = await kept<Draft>("draft");
  if (earlier !== undefined && draft.value === EMPTY) draft.value = { ...EMPTY, ...earlier };
  let timer: ReturnType<typeof setTimeout> | undefined;
  draft.listen((value) => {
    clearTimeout(timer);
    timer = setTimeout(() => void keep("draft", value), PAUSE);
  });
  addEventListener("pagehide", () => void keep("draft", draft.value));
}

/** A size and a ratio exclude each other: the one set last stays. */
export function fieldsFor(values: Values): Values {
  const names = Object.keys(values);
  const last = names.at(-1);
  if (!("size" in values) || !("aspect_ratio" in values)) return values;
  const gone = last === "size" ? "aspect_ratio" : "size";
  return Object.fromEntries(Object.entries(values).filter(([name]) => name !== gone));
}

/** The values that the model has: those of another model stay in the draft, and are not sent. */
function known(values: Values, modelId: string | undefined): Values {
  const model = session.models.value.find((one) => one.id === modelId);
  if (model === undefined) return values;
  const names = new Set(model.parameters.map((one) => one.name));
  return Object.fromEntries(Object.entries(values).filter(([name]) => names.has(name)));
}

export interface Wanted {
  readonly requests: readonly ImageRequest[];
  readonly n: number;
  /** How many texts the wildcards and choices of the prompt can give. */
  readonly wordings: number;
}

export const MOST_IMAGES = 500;
const MOST_TEXTS = 200;

/** The grid of a draft: a request for each model, wording, seed and style, each made `n` times. */
export async function wantedOf(now: Draft): Promise<Wanted> {
  const { texts, wordings } = await wordingsOf(now);
  const models = now.models.length > 0 ? now.models : [session.defaultModel()?.id];
  const requests = models.flatMap((model) =>
    texts.flatMap((text) => ofEachSeed(requestOf(now, text, model))));
  const styled = now.styles.length === 0 ? requests : await Promise.all(
    requests.flatMap((request) => stylesOf(now).map((styles) =>
      session.api.applyStyles(request, styles))));
  return { requests: styled, n: texts.length > 1 ? 1 : now.count, wordings };
}

function stylesOf({ styles, isStyleEach }: Draft): readonly (readonly string[])[] {
  return isStyleEach ? styles.map((one) => [one]) : [styles];
}

function ofEachSeed(request: ImageRequest): ImageRequest[] {
  if (typeof request["seed"] !== "string") return [request];
  return seedsOf(request["seed"]).map((seed) => ({ ...request, seed }));
}

/** The seeds of "7" or "1, 5, 10-13", each once; none if it cannot be read. */
export function seedsOf(text: string): number[] {
  const parts = text.replace(/\s*[-–]\s*/g, "-").split(/[\s,;]+/).filter(Boolean);
  const ranges = parts.map((one) => /^(\d+)(?:-(\d+))?$/.exec(one));
  if (ranges.includes(null)) return [];
  const seeds = new Set<number>();
  for (const range of ranges) {
    const [first, last] = [Number(range![1]), Number(range![2] ?? range![1])];
    // One more than can be made, so that the server refuses it with a sentence.
    for (let seed = first; seed <= last && seeds.size <= MOST_IMAGES; seed += 1) seeds.add(seed);
  }
  return [...seeds];
}

/** A prompt with choices or wildcards gives as many texts as images are wanted. */
async function wordingsOf(now: Draft): Promise<{ texts: string[]; wordings: number }> {
  if (!/[{}]|__/.test(now.prompt)) return { texts: [now.prompt], wordings: 1 };
  const { count, texts } = await session.api.expand(
    now.prompt, Math.min(now.count, MOST_TEXTS), valuesOf(now));
  return count <= 1 ? { texts: [texts[0] ?? now.prompt], wordings: 1 }
    : { texts: texts.slice(0, now.count), wordings: count };
}

export interface Variable {
  readonly name: string;
  readonly otherwise: string;
}

/** The variables of a prompt: `{{name}}`, `{{count:int=3}}`. */
export function variablesOf(prompt: string): Variable[] {
  const found = prompt.matchAll(/(?<!\\)\{\{\s*(\w+)[^}=]*(?:=([^}]*))?\}\}/g);
  const named = new Map([...found].map((one) => [one[1]!, one[2] ?? ""]));
  return [...named].map(([name, otherwise]) => ({ name, otherwise }));
}

function valuesOf(now: Draft): Record<string, string> {
  const given = variablesOf(now.prompt).map(({ name }) => [name, now.variables[name] ?? ""]);
  return Object.fromEntries(given.filter(([, value]) => value !== ""));
}

function requestOf(now: Draft, prompt: string, model: string | undefined): ImageRequest {
  return {
    operation: "generate",
    prompt,
    ...(model === undefined ? {} : { model }),
    ...known(now.values, model),
    ...(now.references.length === 0 ? {} : { references: now.references.map((one) => one.input) }),
  };
}

export function referenceOf(id: string): Reference {
  return { input: { id }, name: id.slice(0, 8), preview: "" };
}

export async function takeFiles(files: Iterable<File>): Promise<Reference[]> {
  return Promise.all([...files].filter((file) => file.type.startsWith("image/")).map(async (file) => {
    const [{ input }, preview] = await Promise.all([
      session.api.upload(file, file.name), previewOf(file)]);
    return { input: { input }, name: file.name, preview };
  }));
}

/** A small copy as a `data:` link, which a draft can keep. */
export async function previewOf(file: Blob): Promise<string> {
  const side = 160;
  const image = await createImageBitmap(file);
  const scale = Math.min(1, side / Math.min(image.width, image.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(image.width * scale);
  canvas.height = Math.round(image.height * scale);
  canvas.getContext("2d")!.drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/webp", 0.8);
}

/** Width by height of "16:9" or "1024x768"; null of anything else. */
export function ratioOf(text: string): number | null {
  const found = /^(\d+(?:\.\d+)?)\s*[:x×]\s*(\d+(?:\.\d+)?)$/.exec(text);
  if (found === null) return null;
  const ratio = Number(found[1]) / Number(found[2]);
  return Number.isFinite(ratio) && ratio > 0 ? ratio : null;
}
