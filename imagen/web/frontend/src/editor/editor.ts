// The editor of one image: mask, frame (crop and outpaint), turn, and what a model makes of it.
// The strokes are kept by image: another prompt needs no other mask, and a reload loses none.
import { html, nothing, type PropertyValues, type TemplateResult } from "lit";
import { customElement, property, query, state } from "lit/decorators.js";
import { live } from "lit/directives/live.js";
import {
  ApiError, type Details, type Family, type ImageRequest, type Model, type Row,
} from "../core/api";
import { icon, type IconName } from "../core/icons";
import { Part } from "../core/part";
import { linkTo } from "../core/route";
import { newKey, session } from "../core/session";
import { takeFiles, type Reference } from "../make/draft";
import { keep, kept } from "../core/storage";
import "./canvas";
import type { MaskCanvas } from "./canvas";
import { exportFrame, flipped, resized, turned } from "./pixels";
import { exportMask, type Stroke, type Tool } from "./strokes";

const TOOLS: readonly [Tool, IconName][] = [
  ["brush", "brush"], ["eraser", "eraser"], ["lasso", "lasso"], ["rectangle", "rectangle"],
  ["pan", "pan"],
];
const ACTIONS = ["edit", "cutout", "vary", "enhance", "restyle"] as const;
type Action = (typeof ACTIONS)[number];
const COLORS = ["#ff4f1f", "#19c3ff", "#8dff3b", "#ff2fd0"];
const KEEP_PAUSE = 250;
const CUTOUT_PROMPT = "Remove the background. Keep the subject exactly as it is.";
const LEAST_SIDE = 16;
const MOST_SIDE = 4096;

interface KeptMask {
  readonly strokes: readonly Stroke[];
  readonly feather: number;
}

@customElement("imagen-editor")
export class Editor extends Part {
  @property() imageId = "";
  @state() private details: Details | null = null;
  @state() private tool: Tool = "brush";
  @state() private size = 60;
  @state() private feather = 0;
  @state() private color = COLORS[0]!;
  @state() private mode: "mask" | "frame" = "mask";
  @state() private operation: Action = "edit";
  @state() private model = "";
  @state() private prompt = "";
  @state() private count = 1;
  @state() private strength = 0.5;
  @state() private price = "";
  @state() private problem = "";
  @state() private isStarting = false;
  @state() private isDrawn = false;
  @state() private strip: readonly Row[] = [];
  @state() private isBefore = false;
  @state() private look: Reference | null = null;
  @query("imagen-canvas") private canvas!: MaskCanvas;
  // The image before it was resized: another size is made of it, and loses nothing twice.
  #unsized: ImageBitmap | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #priceTimer: ReturnType<typeof setTimeout> | undefined;

  override connectedCallback(): void {
    super.connectedCallback();
    this.on(session.events, "added", (event: CustomEvent<{ images: Row[] }>) => {
      const mine = event.detail.images.filter((row) => row.parent === this.imageId);
      this.strip = [...mine, ...this.strip.filter((row) => mine.every((one) => one.id !== row.id))];
    });
    this.on(document, "keydown", (event: KeyboardEvent) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) void this.#make();
    });
  }

  protected override updated(changes: PropertyValues<this>): void {
    if (changes.has("imageId")) void this.#load();
  }

  async #load(): Promise<void> {
    this.isDrawn = false;
    this.#unsized = null;
    this.strip = [];
    const id = this.imageId;
    try {
      const [details, mask, family] = await Promise.all([
        session.api.details(id), kept<KeptMask>(`mask.${id}`),
        session.api.lineage(id).catch(() => null),
      ]);
      const bytes = await pixelsOf(details);
      if (id !== this.imageId) return;
      this.details = details;
      this.feather = mask?.feather ?? 0;
      await this.canvas.open(await createImageBitmap(bytes), mask?.strokes ?? []);
      this.size = Math.round(Math.max(details.width, details.height) / 14);
      this.strip = family === null ? [] : childrenOf(family, id);
      this.#priceSoon();
    } catch (error) {
      this.problem = error instanceof Error && error.constructor === Error
        ? this.t.noServer : session.sentenceOf(error);
    }
  }

  // --- the frame of the view ------------------------------------------------------

  protected override render(): TemplateResult {
    return html`
      <div class="editor">
        ${this.#bar()}
        <div class="editor-tools" role="toolbar" aria-label=${this.t.tools}>${this.#tools()}</div>
        <div class="editor-canvas">
          <imagen-canvas .tool=${this.tool} .size=${this.size} .feather=${this.feather}
            .color=${this.color} .mode=${this.mode} @stroke=${this.#onStroke}
            @frame=${() => this.#priceSoon()}
            @brush-size=${(event: CustomEvent<number>) => this.#resizeBrush(this.size * event.detail)}
            @tool=${(event: CustomEvent<Tool>) => { this.tool = event.detail; }}></imagen-canvas>
          ${this.isBefore && this.details !== null ? html`<img class="editor-before" alt=${this.t.before}
            src=${session.host.file(this.details.parent ?? this.imageId)}>` : nothing}
        </div>
        <aside class="editor-side" aria-label=${this.t.edit}>${this.#side()}</aside>
        ${this.#strip()}
      </div>`;
  }

  #bar(): TemplateResult {
    return html`
      <div class="view-bar">
        <a class="button quiet icon-only" href=${linkTo("image", this.imageId)}
          aria-label=${this.t.close} title=${this.t.close}>${icon("close")}</a>
        <h1>${this.t.editTitle}</h1>
        <div class="segments" role="group" aria-label=${this.t.tools}>
          <button aria-pressed=${this.mode === "mask"} @click=${() => { this.mode = "mask"; }}
            >${this.t.mask}</button>
          <button aria-pressed=${this.mode === "frame"} @click=${() => { this.mode = "frame"; }}
            >${this.t.frame}</button>
        </div>
        <span class="top-space"></span>
        ${this.#button("undo", this.t.undo, () => this.canvas.undo(), "Ctrl Z")}
        ${this.#button("redo", this.t.redo, () => this.canvas.redo(), "Ctrl Shift Z")}
        ${this.#button("fit", this.t.fit, () => this.canvas.fit(), "0")}
        ${this.details?.parent == null ? nothing : html`
          <button class="button small" aria-pressed=${this.isBefore}
            @click=${() => { this.isBefore = !this.isBefore; }}>${this.t.before}</button>`}
      </div>`;
  }

  #button(name: IconName, text: string, act: () => void, key = ""): TemplateResult {
    const title = key === "" ? text : `${text} (${key})`;
    return html`<button class="button quiet icon-only" aria-label=${text} title=${title} @click=${act}
      >${icon(name)}</button>`;
  }

  #tools(): TemplateResult {
    if (this.mode === "frame") return this.#frameTools();
    return html`
      ${TOOLS.map(([tool, name]) => html`<button class="button quiet icon-only"
        aria-label=${this.t.tool(tool)} title=${this.t.tool(tool)} aria-pressed=${this.tool === tool}
        @click=${() => { this.tool = tool; }}>${icon(name)}</button>`)}
      <span class="tools-line"></span>
      ${this.#button("invert", this.t.invert, () => void this.canvas.add({ tool: "invert" }), "I")}
      ${this.#button("trash", this.t.clearMask, () => void this.canvas.add({ tool: "clear" }))}
      <span class="tools-line"></span>
      ${COLORS.map((color) => html`<button class="swatch" aria-pressed=${this.color === color}
        aria-label=${`${this.t.maskColor} ${color}`} .style=${`--swatch:${color}`}
        @click=${() => { this.color = color; }}></button>`)}`;
  }

  #frameTools(): TemplateResult {
    const change = async (by: (image: ImageBitmap) => Promise<ImageBitmap>): Promise<void> => {
      if (this.canvas.image === null) return;
      this.#unsized = null;
      await this.#replace(await by(this.canvas.image));
    };
    return html`
      ${this.#button("again", this.t.turn, () => void change(turned))}
      ${this.#button("compare", this.t.flip, () => void change(flipped))}
      <span class="tools-line"></span>
      ${this.#button("crop", this.t.resetFrame, () => this.#setFrame(0))}
      ${this.#button("enhance", this.t.widen, () => this.#setFrame(0.25))}`;
  }

  async #replace(image: ImageBitmap): Promise<void> {
    await this.canvas.open(image, []);
    this.isDrawn = true;
    this.requestUpdate();
  }

  /** Give one side this length; the other follows. */
  async #resize(side: "width" | "height", length: number): Promise<void> {
    const from = this.#unsized ?? this.canvas.image;
    if (from === null) return;
    this.#unsized = from;
    const most = MOST_SIDE / Math.max(from.width, from.height);
    const least = LEAST_SIDE / Math.min(from.width, from.height);
    const scale = Math.max(least, Math.min(most, (length || from[side]) / from[side]));
    const [width, height] = [from.width * scale, from.height * scale].map(Math.round);
    await this.#replace(await resized(from, width!, height!));
    this.#priceSoon();
  }

  /** The whole image, with a margin on each side. */
  #setFrame(share: number): void {
    const { imageWidth: width, imageHeight: height } = this.canvas;
    const [x, y] = [Math.round(width * share), Math.round(height * share)];
    this.canvas.frame = { x: -x, y: -y, width: width + 2 * x, height: height + 2 * y };
    this.canvas.fit();
    this.#priceSoon();
  }

  // --- the side -------------------------------------------------------------------

  #side(): TemplateResult {
    this.read(session.models);
    const can = ACTIONS.filter((one) => modelsFor(one).length > 0);
    const isMask = this.mode === "mask" && this.operation === "edit";
    return html`
      <div class="composer-body">
        ${this.mode === "mask" ? this.#brushFields() : this.#frameFields()}
        <div class="field"><span class="label" id="do-label">${this.t.doWhat}</span>
          <div class="segments wrap" role="group" aria-labelledby="do-label">${can.map((one) => html`
            <button aria-pressed=${this.operation === one} @click=${() => this.#choose(one)}
              >${this.t.operation(one)}</button>`)}</div></div>
        ${can.length === 0 ? html`<p class="note warm">${icon("key")}<span>${this.t.noEditModel}</span></p>`
          : this.#modelField()}
        ${this.#takesNoWords() ? nothing : html`<div class="field"><label for="edit-prompt">${this.t.prompt}</label>
          <textarea id="edit-prompt" class="textarea" rows="3" placeholder=${this.t.editPlaceholder}
            .value=${this.prompt} @input=${(event: Event) => {
              this.prompt = (event.target as HTMLTextAreaElement).value;
              this.#priceSoon();
            }}></textarea>
          ${isMask ? html`<p class="hint">${this.canvas?.history.canUndo === true
            ? this.t.maskUsed : this.t.maskEmpty}</p>` : nothing}</div>`}
        ${this.operation === "restyle" ? this.#lookField() : nothing} ${this.#strengthField()}
        <div class="field"><span class="label" id="versions-label">${this.t.versions}</span>
          <div class="segments" role="group" aria-labelledby="versions-label">${[1, 2, 3, 4].map((count) =>
            html`<button aria-pressed=${this.count === count} @click=${() => {
              this.count = count;
              this.#priceSoon();
            }}>${count}</button>`)}</div></div>
      </div>
      <div class="composer-foot">
        ${this.problem === "" ? nothing : html`<p class="note bad" role="alert">${icon("warning")}
          <span>${this.problem}</span></p>`}
        <div class="price-row"><p class="price number" aria-live="polite"><strong>${this.price}</strong></p></div>
        <button class="button primary make" ?disabled=${this.isStarting || can.length === 0}
          @click=${() => void this.#make()}>${icon("make")}<span>${this.t.operation(this.operation)}</span>
          <kbd>Ctrl ⏎</kbd></button>
      </div>`;
  }

  #takesNoWords(): boolean {
    const model = this.#model();
    return this.operation === "cutout" && model !== undefined && isForCutouts(model);
  }

  #brushFields(): TemplateResult {
    const most = Math.max(120, Math.round((this.details?.width ?? 1024) / 3));
    return html`
      <div class="field"><label for="brush-size">${this.t.brushSize}<span class="number"> ${this.size} px</span></label>
        <input id="brush-size" type="range" min="2" max=${most} .value=${String(this.size)}
          @input=${(event: Event) => this.#resizeBrush(Number((event.target as HTMLInputElement).value))}></div>
      <div class="field"><label for="feather">${this.t.feather}<span class="number"> ${this.feather} px</span></label>
        <input id="feather" type="range" min="0" max="64" .value=${String(this.feather)}
          @input=${(event: Event) => {
            this.feather = Number((event.target as HTMLInputElement).value);
            this.#keepSoon();
          }}></div>
      <div class="mask-files">
        <label class="button small"><input type="file" accept="image/*" class="visually-hidden"
          @change=${(event: Event) => void this.#import(event)}>${this.t.importMask}</label>
        <button class="button small" @click=${() => void this.#exportMask()}>${this.t.exportMask}</button>
      </div>`;
  }

  #frameFields(): TemplateResult {
    return html`
      <p class="hint">${this.t.frameHint}</p>
      <div class="resize" role="group" aria-label=${this.t.resize}>
        ${this.#sideField("width", this.t.width, this.canvas?.imageWidth)}
        ${this.#sideField("height", this.t.height, this.canvas?.imageHeight)}</div>
      <div class="mask-files">
        <button class="button small" @click=${() => void this.#saveFrame()}>${icon("download")}
          ${this.t.saveFrame}</button></div>`;
  }

  #sideField(side: "width" | "height", text: string, length = 1): TemplateResult {
    return html`<div class="field"><label for=${`resize-${side}`}>${text}</label>
      <input id=${`resize-${side}`} class="input number" type="number" min=${LEAST_SIDE} max=${MOST_SIDE}
        .value=${live(String(length))} @change=${(event: Event) =>
          void this.#resize(side, Number((event.target as HTMLInputElement).value))}></div>`;
  }

  #modelField(): TemplateResult {
    const models = modelsFor(this.operation);
    return html`<div class="field"><label for="edit-model">${this.t.model}</label>
      <select id="edit-model" class="select" @change=${(event: Event) => {
        this.model = (event.target as HTMLSelectElement).value;
        this.#priceSoon();
      }}>${models.map((one) => html`<option value=${one.id} .selected=${live(one.id === this.#model()?.id)}
        >${one.name} – ${one.provider}${one.price === "" ? "" : ` – ${one.price}`}</option>`)}</select></div>`;
  }

  #lookField(): TemplateResult {
    const take = async (event: Event): Promise<void> => {
      const files = (event.target as HTMLInputElement).files ?? [];
      this.look = (await session.attempt(() => takeFiles(files)))?.[0] ?? this.look;
    };
    return html`<div class="field"><span class="label">${this.t.look}</span>
      <ul class="references">
        ${this.look === null ? nothing : html`<li><img src=${this.look.preview} alt=${this.look.name}></li>`}
        <li><label class="add-reference"><input type="file" accept="image/*" class="visually-hidden"
          @change=${(event: Event) => void take(event)}>${icon("add")}<span>${this.t.addReference}</span>
        </label></li></ul></div>`;
  }

  #strengthField(): TemplateResult | typeof nothing {
    const has = this.#model()?.parameters.some((one) => one.name === "strength");
    if (has !== true || (this.operation !== "vary" && this.operation !== "restyle")) return nothing;
    return html`<div class="field"><label for="strength">${this.t.parameter("strength")}
        <span class="number"> ${this.strength}</span></label>
      <input id="strength" type="range" min="0" max="1" step="0.05" .value=${String(this.strength)}
        @change=${(event: Event) => {
          this.strength = Number((event.target as HTMLInputElement).value);
          this.#priceSoon();
        }}></div>`;
  }

  #strip(): TemplateResult | typeof nothing {
    this.read(session.batches);
    const going = session.shownBatches().flatMap((batch) => batch.places)
      .filter((place) => place.request["parent"] === this.imageId || sourceOf(place.request) === this.imageId)
      .filter((place) => ["waiting", "queued", "sent", "failed"].includes(place.state));
    if (this.strip.length + going.length === 0) return nothing;
    return html`
      <ul class="editor-strip" aria-label=${this.t.versions}>
        ${going.map((place) => html`<li class="place" data-state=${place.state}>
          <span class="place-text">${place.error?.sentence ?? this.t.placeState(place.state)}</span></li>`)}
        ${this.strip.map((row) => html`<li class="place" data-state="done">
          <a href=${linkTo("image", row.id)}><img src=${session.host.thumbnail(row.id, 256)}
            alt=${row.prompt || this.t.theImage}></a>
          <a class="strip-compare" href=${linkTo("compare", `${this.imageId},${row.id}`)}
            aria-label=${this.t.compare} title=${this.t.compare}>${icon("compare")}</a></li>`)}
      </ul>`;
  }

  // --- the mask -------------------------------------------------------------------

  #resizeBrush(size: number): void {
    this.size = Math.round(Math.min(2000, Math.max(2, size)));
  }

  #onStroke(): void {
    this.#keepSoon();
    this.requestUpdate();
  }

  #keepSoon(): void {
    clearTimeout(this.#timer);
    const id = this.imageId;
    this.#timer = setTimeout(() => {
      const mask: KeptMask = { strokes: this.canvas.history.strokes, feather: this.feather };
      void keep(`mask.${id}`, mask);
    }, KEEP_PAUSE);
  }

  async #import(event: Event): Promise<void> {
    const input = event.target as HTMLInputElement;
    const [file] = input.files ?? [];
    input.value = "";
    if (file !== undefined) await this.canvas.add({ tool: "import", image: file });
  }

  async #exportMask(): Promise<void> {
    saveBlob(await exportMask(this.canvas.data), `mask-${this.imageId.slice(0, 8)}.png`);
  }

  async #saveFrame(): Promise<void> {
    const { image } = await exportFrame(this.canvas.image!, this.canvas.frame!);
    saveBlob(image, `${this.imageId.slice(0, 8)}-crop.png`);
  }

  // --- the request ----------------------------------------------------------------

  #choose(operation: Action): void {
    this.operation = operation;
    this.model = "";
    this.#priceSoon();
  }

  #model(): Model | undefined {
    const models = modelsFor(this.operation);
    if (this.operation === "cutout") return models.find((one) => one.id === this.model) ?? models[0];
    const withMask = models.filter((one) => one.parameters.some((two) => two.name === "mask"));
    return models.find((one) => one.id === this.model)
      ?? models.find((one) => one.id === this.details?.model) ?? withMask[0] ?? models[0];
  }

  get #isFramed(): boolean {
    const { frame, imageWidth, imageHeight } = this.canvas;
    return this.isDrawn || (this.mode === "frame" && frame !== null && (frame.x !== 0 || frame.y !== 0
      || frame.width !== imageWidth || frame.height !== imageHeight));
  }

  async #request(isPriceOnly: boolean): Promise<ImageRequest> {
    const model = this.#model()?.id;
    const common = { prompt: this.prompt, ...(model === undefined ? {} : { model }) };
    const self = { id: this.imageId };
    if (this.operation === "edit") return { ...common, operation: "edit", ...(await this.#inputs(isPriceOnly)) };
    if (this.operation === "cutout") return { ...common, ...this.#cutout(), images: [self] };
    if (this.operation === "enhance") return { ...common, operation: "enhance", image: self };
    const has = this.#model()?.parameters.some((one) => one.name === "strength");
    const strength = has === true ? { strength: this.strength } : {};
    if (this.operation === "vary") return { ...common, operation: "vary", image: self, ...strength };
    const reference = this.look?.input ?? (isPriceOnly ? self : null);
    if (reference === null) throw new ApiError("INVALID_REQUEST", this.t.lookMissing);
    return { ...common, operation: "restyle", image: self, reference, ...strength };
  }

  /** A model made for it needs nothing more; another one is asked for a transparent background. */
  #cutout(): { operation: "edit"; [field: string]: unknown } {
    const model = this.#model();
    if (model !== undefined && isForCutouts(model)) return { operation: "edit", prompt: "" };
    const prompt = this.prompt.trim() === "" ? CUTOUT_PROMPT : this.prompt;
    return { operation: "edit", prompt, background: "transparent" };
  }

  /** The image and its mask; a frame other than the image is drawn and uploaded. */
  async #inputs(isPriceOnly: boolean): Promise<Record<string, unknown>> {
    const self = { id: this.imageId };
    if (isPriceOnly) return { images: [self] };
    if (this.#isFramed) {
      const { image, mask } = await exportFrame(this.canvas.image!, this.canvas.frame!);
      const [drawn, area] = await Promise.all([
        session.api.upload(image, "frame.png"),
        mask === null ? null : session.api.upload(mask, "mask.png"),
      ]);
      const size = `${this.canvas.frame!.width}x${this.canvas.frame!.height}`;
      return {
        images: [{ input: drawn.input }], parent: this.imageId,
        ...(area === null ? {} : { mask: { input: area.input }, size }),
      };
    }
    if (this.canvas.history.strokes.length === 0) return { images: [self] };
    const { input } = await session.api.upload(await exportMask(this.canvas.data), "mask.png");
    return { images: [self], mask: { input } };
  }

  #priceSoon(): void {
    clearTimeout(this.#priceTimer);
    this.#priceTimer = setTimeout(() => void this.#askPrice(), 250);
  }

  async #askPrice(): Promise<void> {
    if (this.operation === "edit" && this.prompt.trim() === "") {
      this.price = "";
      return;
    }
    try {
      const quote = await session.api.quote([await this.#request(true)], this.count);
      this.price = this.t.price(quote.expected_usd, quote.high_usd);
      this.problem = "";
    } catch (error) {
      this.price = "";
      this.problem = session.sentenceOf(error);
    }
  }

  async #make(): Promise<void> {
    if (this.isStarting || this.canvas.image === null) return;
    this.isStarting = true;
    try {
      const batch = await session.start([await this.#request(false)], this.count, newKey());
      this.problem = "";
      if (batch !== null) session.say(this.t.started);
    } catch (error) {
      this.problem = session.sentenceOf(error);
    } finally {
      this.isStarting = false;
    }
  }
}

/** Models that can do it, those that are made for it first. */
function modelsFor(action: Action): Model[] {
  if (action !== "cutout") return session.modelsFor(action);
  const models = session.modelsFor("edit");
  return [...models.filter(isForCutouts), ...models.filter(isTransparent)];
}

function isForCutouts(model: Model): boolean {
  return model.id.endsWith("/remove-background");
}

function isTransparent(model: Model): boolean {
  return !isForCutouts(model) && model.parameters.some((one) => one.name === "background"
    && one.operations.includes("edit") && one.choices.includes("transparent"));
}

function sourceOf(request: ImageRequest): string | null {
  const images = request["images"] as readonly { id?: string }[] | undefined;
  const image = request["image"] as { id?: string } | undefined;
  return images?.[0]?.id ?? image?.id ?? null;
}

function childrenOf(family: Family, id: string): Row[] {
  if (family.image.id === id) return family.children.map((child) => child.image);
  return family.children.flatMap((child) => childrenOf(child, id));
}

/** The file, or a drawing of one that has no pixels. */
async function pixelsOf(details: Details): Promise<Blob> {
  const isDrawing = details.media_type === "image/svg+xml";
  const { host } = session;
  const reply = await fetch(isDrawing ? host.thumbnail(details.id, 2048) : host.file(details.id));
  return reply.blob();
}

function saveBlob(blob: Blob, name: string): void {
  const link = URL.createObjectURL(blob);
  const anchor = document.createElement("a");
  anchor.href = link;
  anchor.download = name;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(link), 1000);
}
