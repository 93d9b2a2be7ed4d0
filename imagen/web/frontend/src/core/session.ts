// What all views share: the state of the server, its models, the batches, and sentences to say.
import { language } from "../messages/messages";
import {
  Api, ApiError, Unreachable, type Batch, type ImageRequest, type Model, type Place, type Quote,
  type State,
} from "./api";
import { Cell } from "./cell";
import type { Host, ServerEvent } from "./host";

export interface Toast {
  readonly text: string;
  readonly undo: (() => unknown) | null;
}

export interface Consent {
  readonly quote: Quote;
  readonly answer: (is: boolean) => void;
}

/** A batch as it is shown, with its places by index. */
export interface LiveBatch extends Batch {
  readonly places: readonly Place[];
}

const TOAST_SECONDS = 8;
const MOST_TOASTS = 3;
const MOST_SHOWN = 6;
const STATE_PAUSE = 400;

class Session {
  readonly connected = new Cell(true);
  readonly state = new Cell<State | null>(null);
  readonly models = new Cell<readonly Model[]>([]);
  /** Names of all parameters: a model has some of them. */
  parameters: readonly string[] = [];
  readonly batches = new Cell<ReadonlyMap<string, LiveBatch>>(new Map());
  readonly toasts = new Cell<readonly Toast[]>([]);
  readonly consent = new Cell<Consent | null>(null);
  /** Image ids that a view wants to have as references. */
  readonly wantedReferences = new Cell<readonly string[]>([]);
  readonly events = new EventTarget();
  #host: Host | null = null;
  #api: Api | null = null;
  #fresh = new Set<string>();
  #stop: (() => void) | null = null;
  #stateTimer: ReturnType<typeof setTimeout> | undefined;

  get host(): Host {
    return this.#host!;
  }

  get api(): Api {
    return this.#api!;
  }

  use(host: Host): void {
    this.#host = host;
    this.#api = new Api(host);
  }

  /** Read everything, then follow the events after it. */
  async begin(): Promise<void> {
    this.connected.value = await this.#readAll();
    this.#follow();
  }

  /** Whether the server answered. */
  async #readAll(): Promise<boolean> {
    try {
      await this.#readState();
      const { models, parameters } = await this.api.models();
      this.parameters = parameters;
      this.models.value = models;
      return true;
    } catch {
      return false;
    }
  }

  #follow(): void {
    this.#stop?.();
    this.#stop = this.host.events(
      this.state.value?.last_event_id ?? "",
      (event) => this.#take(event),
      (is) => this.#connect(is),
    );
  }

  #connect(is: boolean): void {
    const was = this.connected.value;
    this.connected.value = is;
    // The page may have been opened without the server.
    if (is && this.models.value.length === 0) void this.#reset();
    else if (is && !was) this.events.dispatchEvent(new Event("back"));
  }

  async #readState(): Promise<void> {
    const state = await this.api.state();
    this.state.value = state;
    const shown = state.batches.filter((batch) => this.#isShown(batch)).slice(0, MOST_SHOWN);
    const whole = await Promise.all(shown.map((batch) => this.api.batch(batch.id)));
    this.batches.value = new Map(whole.map((batch) => [batch.id, live(batch)]));
  }

  #readStateSoon(): void {
    clearTimeout(this.#stateTimer);
    this.#stateTimer = setTimeout(() => {
      void this.api.state().then((state) => { this.state.value = state; }).catch(() => undefined);
    }, STATE_PAUSE);
  }

  // --- events -----------------------------------------------------------------------

  #take({ kind, data }: ServerEvent): void {
    const actions: Record<string, () => void> = {
      reset: () => void this.#reset(),
      hello: () => {
        if (this.state.value !== null && data["run"] !== this.state.value.run) void this.#reset();
      },
      batch: () => this.#takeBatch(data as unknown as Batch),
      place: () => this.#takePlace(data["batch_id"] as string, data["place"] as Place),
      preview: () => this.#takePreview(data),
      forgotten: () => this.#forget(data["batch_id"] as string),
      alarm: () => this.say(language.value.alarm(
        String(data["budget"]), Number(data["share"]))),
    };
    actions[kind]?.();
    this.events.dispatchEvent(new CustomEvent(kind, { detail: data }));
  }

  async #reset(): Promise<void> {
    await this.#readAll();
    this.events.dispatchEvent(new Event("back"));
  }

  #set(batch: LiveBatch): void {
    this.batches.value = new Map([...this.batches.value, [batch.id, batch]]);
  }

  #takeBatch(batch: Batch): void {
    const before = this.batches.value.get(batch.id);
    if (before === undefined) this.#fresh.add(batch.id);
    this.#set({ ...live(batch), places: batch.places ?? before?.places ?? [] });
    if (before === undefined && batch.places === undefined) {
      void this.api.batch(batch.id).then((whole) => this.#set(live(whole))).catch(() => undefined);
    }
    if (batch.state !== "running") this.#readStateSoon();
  }

  #takePlace(id: string, place: Place): void {
    const batch = this.batches.value.get(id);
    if (batch === undefined) return;
    const places = [...batch.places.filter((one) => one.index !== place.index), place];
    this.#set({ ...batch, places: places.sort((one, other) => one.index - other.index) });
  }

  #takePreview(data: Readonly<Record<string, unknown>>): void {
    const batch = this.batches.value.get(data["batch_id"] as string);
    const place = batch?.places.find((one) => one.index === data["index"]);
    if (batch === undefined || place === undefined) return;
    this.#takePlace(batch.id, { ...place, previews: Number(data["number"]) + 1 });
  }

  #forget(id: string): void {
    const batches = new Map(this.batches.value);
    batches.delete(id);
    this.batches.value = batches;
  }

  // --- batches ------------------------------------------------------------------------

  /** Running ones, those with something left to do, and those of this visit. */
  #isShown(batch: Batch): boolean {
    return batch.state === "running" || batch.state === "interrupted" || this.#fresh.has(batch.id);
  }

  shownBatches(): LiveBatch[] {
    const shown = [...this.batches.value.values()].filter((batch) => this.#isShown(batch));
    const started = (batch: Batch): string => batch.started_at ?? "";
    return shown.sort((one, other) => started(other).localeCompare(started(one)));
  }

  /**
   * Quote, ask for consent where it is needed, and start. Returns null if the user declines.
   * The key makes it safe to press again after a lost reply.
   */
  async start(requests: readonly ImageRequest[], n = 1, key: string = newKey()): Promise<Batch | null> {
    const quote = await this.api.quote(requests, n);
    if (quote.needs_consent && !(await this.#askConsent(quote))) return null;
    const consent = quote.needs_consent ? { consent_usd: quote.high_usd ?? "any" } : {};
    const batch = await this.api.start(requests, { n, key, ...consent });
    this.#fresh.add(batch.id);
    if (!this.batches.value.has(batch.id)) this.#set(live(batch));
    return batch;
  }

  #askConsent(quote: Quote): Promise<boolean> {
    return new Promise((done) => {
      this.consent.value = {
        quote,
        answer: (is) => {
          this.consent.value = null;
          done(is);
        },
      };
    });
  }

  /** Start, and say what went wrong. */
  async startOrSay(requests: readonly ImageRequest[], n = 1): Promise<Batch | null> {
    return (await this.attempt(() => this.start(requests, n))) ?? null;
  }

  async again(batch: LiveBatch, index: number): Promise<void> {
    const place = batch.places.find((one) => one.index === index);
    if (place !== undefined) await this.startOrSay([place.request]);
  }

  cancel = (id: string): Promise<unknown> => this.attempt(() => this.api.cancel(id));
  drop = (id: string, index: number): Promise<unknown> =>
    this.attempt(() => this.api.drop(id, index));
  reopen = (id: string): Promise<unknown> => this.attempt(() => this.api.reopen(id));

  dismiss(id: string): void {
    this.#fresh.delete(id);
    this.#forget(id);
    void this.attempt(() => this.api.forget(id));
  }

  defaultModel(): Model | undefined {
    const models = this.models.value;
    return models.find((one) => one.is_default) ?? models.find((one) => one.has_key) ?? models[0];
  }

  modelsFor(operation: string): Model[] {
    return this.models.value.filter((one) =>
      one.has_key && one.state !== "retired" && (one.operations as readonly string[]).includes(operation));
  }

  /** The least that any budget has left. */
  left(): string | null {
    const left = (this.state.value?.budgets ?? []).map((one) => one.left_usd)
      .filter((one): one is string => one !== null);
    return left.sort((one, other) => Number(one) - Number(other))[0] ?? null;
  }

  // --- sentences ----------------------------------------------------------------------

  say(text: string, undo: (() => unknown) | null = null): void {
    const toast = { text, undo };
    this.toasts.value = [...this.toasts.value.slice(1 - MOST_TOASTS), toast];
    setTimeout(() => this.closeToast(toast), TOAST_SECONDS * 1000);
  }

  closeToast(toast: Toast): void {
    this.toasts.value = this.toasts.value.filter((one) => one !== toast);
  }

  sentenceOf(error: unknown): string {
    if (error instanceof ApiError) return error.message;
    if (error instanceof Unreachable) return language.value.noServer;
    throw error;
  }

  /** Do it, and say a sentence about how it went. */
  async attempt<T>(action: () => Promise<T>, done = ""): Promise<T | undefined> {
    try {
      const result = await action();
      if (done !== "") this.say(done);
      return result;
    } catch (error) {
      this.say(this.sentenceOf(error));
      return undefined;
    }
  }

  addReference(row: string): void {
    this.wantedReferences.value = [...this.wantedReferences.value, row];
  }
}

function live(batch: Batch): LiveBatch {
  return { ...batch, places: batch.places ?? [] };
}

export function newKey(): string {
  return crypto.randomUUID();
}

export const session = new Session();
