// The calls of docs/web-api.md, as the page uses them.
import { ApiError, Unreachable, type Host } from "./host";

export { ApiError, Unreachable };

export type Value = string | number | boolean;
export type Input = { readonly id: string } | { readonly input: string };
export type Operation = "generate" | "edit" | "vary" | "enhance" | "restyle";
/** A request of the library, as JSON. */
export type ImageRequest = { readonly operation: Operation; readonly [field: string]: unknown };

export interface Failure {
  readonly code: string;
  readonly sentence: string;
}

export interface Row {
  readonly id: string;
  readonly width: number;
  readonly height: number;
  readonly media_type: string;
  readonly prompt: string;
  readonly operation: Operation;
  readonly model: string;
  readonly stars: number;
  readonly tags: readonly string[];
  readonly created_at: string;
  readonly parent: string | null;
  readonly trashed: boolean;
}

export interface Adjustment {
  readonly parameter: string;
  readonly asked: string | null;
  readonly used: string | null;
  readonly reason: string;
}

export interface Details extends Row {
  readonly revised_prompt: string | null;
  readonly provider: string;
  readonly seed: number | null;
  readonly size_bytes: number;
  readonly sha256: string;
  readonly cost_usd: string | null;
  readonly cost_source: string;
  readonly adjustments: readonly Adjustment[];
  readonly seconds: number | null;
  readonly notes: string;
  readonly collections: readonly string[];
  readonly request: ImageRequest | null;
  readonly trashed_at: string | null;
  readonly provider_id: string | null;
  readonly record: unknown;
  readonly c2pa: unknown;
  readonly file_name: string;
}

export interface Parameter {
  readonly name: string;
  readonly kind: "choice" | "size" | "integer" | "number" | "text" | "images";
  readonly choices: readonly string[];
  readonly low: number | null;
  readonly high: number | null;
  readonly operations: readonly Operation[];
}

/** All models, and the names of all parameters in the order of the dialog. */
export interface Models {
  readonly models: readonly Model[];
  readonly parameters: readonly string[];
}

export interface Model {
  readonly id: string;
  readonly name: string;
  readonly provider: string;
  readonly description: string;
  readonly operations: readonly Operation[];
  readonly has_key: boolean;
  readonly is_default: boolean;
  readonly price: string;
  readonly high_usd: string | null;
  readonly state: string;
  readonly max_references: number;
  readonly parameters: readonly Parameter[];
  readonly free_size: object | null;
}

export interface Quote {
  readonly images: number;
  readonly low_usd: string | null;
  readonly expected_usd: string | null;
  readonly high_usd: string | null;
  readonly needs_consent: boolean;
  readonly left_usd: string | null;
  readonly adjustments: readonly Adjustment[];
}

export type PlaceState = "waiting" | "queued" | "sent" | "done" | "failed" | "dropped" | "lost";

export interface Place {
  readonly index: number;
  readonly state: PlaceState;
  readonly request: ImageRequest;
  readonly model: string | null;
  readonly sent_at: string | null;
  readonly fraction: number | null;
  readonly note: string;
  readonly previews: number;
  readonly image: Row | null;
  readonly error: Failure | null;
  readonly cost_usd: string | null;
}

export interface Batch {
  readonly id: string;
  readonly state: "running" | "finished" | "cancelled" | "failed" | "interrupted";
  readonly requested: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly cost_usd: string | null;
  readonly started_at: string | null;
  readonly ended_at: string | null;
  readonly error: Failure | null;
  readonly prompt: string;
  readonly models: readonly string[];
  readonly places?: readonly Place[];
}

export interface BudgetState {
  readonly name: string;
  readonly period: string;
  readonly limit_usd: string | null;
  readonly taken_usd: string;
  readonly left_usd: string | null;
}

export interface State {
  readonly version: string;
  readonly run: string;
  readonly last_event_id: string;
  readonly confirm_above_usd: string | null;
  readonly budgets: readonly BudgetState[];
  readonly spent_usd: { readonly today: string; readonly month: string };
  readonly batches: readonly Batch[];
  readonly images: number;
  readonly features: { readonly similar: boolean; readonly shares: boolean; readonly publishing: boolean };
}

/** Filters of the library; an empty one is left out. */
export interface Filters {
  readonly q?: string;
  readonly model?: string;
  readonly operation?: string;
  readonly tag?: string;
  readonly collection?: string;
  readonly min_stars?: string;
  readonly state?: string;
  readonly since?: string;
}

export interface Change {
  readonly ids: readonly string[];
  readonly stars?: number;
  readonly add_tags?: readonly string[];
  readonly remove_tags?: readonly string[];
  readonly notes?: string;
  readonly add_to?: string;
  readonly remove_from?: string;
  readonly trashed?: boolean;
}

export interface StartOptions {
  readonly n: number;
  readonly key: string;
  readonly consent_usd?: string;
}

export interface Family {
  readonly image: Row;
  readonly children: readonly Family[];
}

export interface KeptPrompt {
  readonly name: string;
  readonly text: string;
}

export interface SpendingGroup {
  readonly name: string;
  readonly spent_usd: string;
  readonly images: number;
  readonly requests: number;
  readonly unknown: number;
}

export interface StatisticsGroup {
  readonly name: string;
  readonly succeeded: number;
  readonly failed: number;
  readonly images: number;
  readonly success_rate: number | null;
  readonly p50_seconds: number | null;
  readonly p95_seconds: number | null;
  readonly spent_usd: string;
  readonly usd_per_image: string | null;
}

export interface UnknownAttempt {
  readonly id: string;
  readonly model: string;
  readonly prompt: string;
  readonly created_at: string;
  readonly images: number;
  readonly reserved_usd: string | null;
}

export interface Difference {
  readonly field: string;
  readonly values: readonly string[];
}

export class Api {
  constructor(readonly host: Host) {}

  async #get<T>(path: string): Promise<T> {
    return (await this.host.call("GET", path)) as T;
  }

  async #post<T>(path: string, body: unknown = {}): Promise<T> {
    return (await this.host.call("POST", path, body)) as T;
  }

  state = (): Promise<State> => this.#get("state");
  models = (): Promise<Models> => this.#get("models");

  quote = (requests: readonly ImageRequest[], n: number): Promise<Quote> =>
    this.#post("quote", { requests, n });

  // --- batches --------------------------------------------------------------------

  start = (requests: readonly ImageRequest[], options: StartOptions): Promise<Batch> =>
    this.#post("batches", { requests, ...options });
  batch = (id: string): Promise<Batch> => this.#get(`batches/${id}`);
  cancel = (id: string): Promise<unknown> => this.#post(`batches/${id}/cancel`);
  drop = (id: string, index: number): Promise<unknown> =>
    this.#post(`batches/${id}/places/${index}/drop`);
  reopen = (id: string): Promise<unknown> => this.#post(`batches/${id}/reopen`);
  forget = (id: string): Promise<unknown> => this.#post(`batches/${id}/forget`);

  upload = async (file: Blob, name: string): Promise<{ input: string }> =>
    (await this.host.upload(file, name)) as { input: string };

  // --- the library ------------------------------------------------------------------

  /** Count by day; with `most`, only the latest images are counted. */
  timeline = async (
    filters: Filters, most?: number,
  ): Promise<{ total: number; days: [string, number][]; is_whole: boolean }> =>
    this.#get(`timeline?${most === undefined ? "" : `most=${most}&`}${query(filters)}`);
  imagesOfDay = async (
    day: string, offset: number, limit: number, filters: Filters,
  ): Promise<Row[]> => {
    const path = `days/${day}?offset=${offset}&limit=${limit}&${query(filters)}`;
    return (await this.#get<{ images: Row[] }>(path)).images;
  };
  latest = (limit: number, filters: Filters): Promise<{ images: Row[]; cursor: string | null }> =>
    this.#get(`images?limit=${limit}&${query(filters)}`);
  details = (id: string): Promise<Details> => this.#get(`images/${id}`);
  lineage = async (id: string): Promise<Family> =>
    (await this.#get<{ root: Family }>(`images/${id}/lineage`)).root;
  similar = async (id: string): Promise<Row[]> => {
    const found = await this.#get<{ images: { image: Row }[] }>(`images/${id}/similar?limit=12`);
    return found.images.map((one) => one.image);
  };
  compare = (ids: readonly string[]): Promise<{ images: Details[]; differences: Difference[] }> =>
    this.#get(`compare?${ids.map((id) => `id=${id}`).join("&")}`);
  tags = async (): Promise<string[]> =>
    (await this.#get<{ tags: { name: string }[] }>("tags")).tags.map((one) => one.name);
  collections = async (): Promise<string[]> =>
    (await this.#get<{ collections: { name: string }[] }>("collections")).collections
      .map((one) => one.name);
  createCollection = (name: string): Promise<unknown> => this.#post("collections", { name });
  renameCollection = (name: string, new_name: string): Promise<{ name: string }> =>
    this.#post("collections/rename", { name, new_name });
  deleteCollection = (name: string): Promise<unknown> => this.#post("collections/delete", { name });
  change = (change: Change): Promise<{ changed: number; undo: string }> =>
    this.#post("images/change", change);
  undo = (undo: string): Promise<unknown> => this.#post("undo", { undo });
  deleteForGood = (ids: readonly string[]): Promise<unknown> => this.#post("images/delete", { ids });
  zip = async (ids: readonly string[]): Promise<string> =>
    (await this.#post<{ zip: string }>("zips", { ids })).zip;

  // --- prompts ----------------------------------------------------------------------

  keptPrompts = async (): Promise<KeptPrompt[]> =>
    (await this.#get<{ prompts: KeptPrompt[] }>("prompts")).prompts;
  keepPrompt = (name: string, text: string): Promise<unknown> =>
    this.#post("prompts", { name, text });
  styles = async (): Promise<string[]> =>
    (await this.#get<{ styles: { name: string }[] }>("styles")).styles.map((one) => one.name);
  applyStyles = async (request: ImageRequest, styles: readonly string[]): Promise<ImageRequest> =>
    (await this.#post<{ request: ImageRequest }>("styles/apply", { request, styles })).request;
  expand = (
    text: string, limit: number, values: Readonly<Record<string, string>>,
  ): Promise<{ count: number; texts: string[] }> =>
    this.#post("templates/expand", { text, limit, values });

  // --- money --------------------------------------------------------------------------

  spending = (by: string, since: string): Promise<{ total: SpendingGroup; groups: SpendingGroup[] }> =>
    this.#get(`spending?by=${by}&since=${since}`);
  statistics = async (by: string, since: string): Promise<StatisticsGroup[]> =>
    (await this.#get<{ groups: StatisticsGroup[] }>(`statistics?by=${by}&since=${since}`)).groups;
  unknown = async (): Promise<UnknownAttempt[]> =>
    (await this.#get<{ attempts: UnknownAttempt[] }>("unknown")).attempts;
  collectUnknown = (): Promise<{ collected: number }> => this.#post("unknown/collect");
  reconcile = (id: string, usd: string): Promise<unknown> =>
    this.#post(`unknown/${id}/reconcile`, { usd });

  // --- sharing ------------------------------------------------------------------------

  publish = (ids: readonly string[]): Promise<unknown> => this.#post("publishing", { ids });
  share = (image: string): Promise<{ url: string }> => this.#post("shares", { image });
}

export function query(filters: Filters): string {
  const used = Object.entries(filters).filter(([, value]) => value) as [string, string][];
  return new URLSearchParams(used).toString();
}
