// The canvas of the editor: shows the image with the mask over it, and turns pointers to strokes.
import { customElement, property, state } from "lit/decorators.js";
import { html, type TemplateResult } from "lit";
import { Part } from "../core/part";
import { clamp } from "../gallery/layout";
import {
  drawAll, drawStroke, History, readImports, type MaskData, type Point, type Stroke, type Tool,
} from "./strokes";

export interface Frame {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

type Gesture =
  | {
    readonly kind: "stroke"; readonly stroke: Stroke; readonly points: Point[];
    readonly isByKey: boolean;
  }
  | { readonly kind: "pan" }
  | { readonly kind: "frame"; readonly handle: string; readonly start: Frame; x: number; y: number }
  | null;

const HANDLES = ["nw", "n", "ne", "e", "se", "s", "sw", "w"] as const;
const REACH = 14;
// How far an arrow moves, in pixels of the screen; with Shift, and without.
const FINE_STEP = 1;
const STEP = 12;
const ARROWS: Readonly<Record<string, readonly [number, number]>> = {
  arrowleft: [-1, 0], arrowright: [1, 0], arrowup: [0, -1], arrowdown: [0, 1],
};

@customElement("imagen-canvas")
export class MaskCanvas extends Part {
  @property({ attribute: false }) tool: Tool = "brush";
  @property({ type: Number }) size = 60;
  @property({ type: Number }) feather = 0;
  @property() color = "#ff4f1f";
  @property({ attribute: false }) mode: "mask" | "frame" = "mask";
  @property({ attribute: false }) frame: Frame | null = null;

  @state() private isDrawing = false;

  history = new History();
  #image: ImageBitmap | null = null;
  #mask: OffscreenCanvas | null = null;
  #tint: OffscreenCanvas | null = null;
  #imports: ReadonlyMap<Blob, ImageBitmap> = new Map();
  #scale = 1;
  #x = 0;
  #y = 0;
  #gesture: Gesture = null;
  #pointers = new Map<number, { x: number; y: number }>();
  #hover: { x: number; y: number } | null = null;
  // Where the keyboard draws, in pixels of the image.
  #cursor: { x: number; y: number } | null = null;
  #isSpace = false;
  #hasMoved = false;
  #frameRequest = 0;
  // Until the user zooms or moves, the whole image stays in view.
  #isFitted = true;

  protected override render(): TemplateResult {
    return html`<canvas tabindex="0" role="application"
      aria-label=${this.mode === "mask" ? this.t.maskCanvas : this.t.frameHint}
      @pointerdown=${this.#onDown} @pointermove=${this.#onMove} @pointerup=${this.#onUp}
      @pointercancel=${this.#onUp} @pointerleave=${() => this.#leave()}
      @wheel=${this.#onWheel} @keydown=${this.#onKey} @keyup=${this.#onKeyUp}
      @blur=${() => this.#endKeyStroke()}></canvas>
      <span class="visually-hidden" role="status">${this.isDrawing ? this.t.drawing : ""}</span>`;
  }

  protected override firstUpdated(): void {
    const resize = new ResizeObserver(() => this.#resize());
    resize.observe(this);
    this.untilGone(() => resize.disconnect());
  }

  protected override updated(): void {
    this.paint();
  }

  get imageWidth(): number {
    return this.#image?.width ?? 1;
  }

  get imageHeight(): number {
    return this.#image?.height ?? 1;
  }

  get image(): ImageBitmap | null {
    return this.#image;
  }

  get data(): MaskData {
    return {
      width: this.imageWidth, height: this.imageHeight,
      feather: this.feather, strokes: this.history.strokes,
    };
  }

  /** The mask as it is drawn, for who wants to compare it. */
  maskPixels(): ArrayBufferLike {
    const { imageWidth: width, imageHeight: height } = this;
    return this.#mask!.getContext("2d")!.getImageData(0, 0, width, height).data.buffer;
  }

  async open(image: ImageBitmap, strokes: readonly Stroke[]): Promise<void> {
    this.#image = image;
    this.#mask = new OffscreenCanvas(image.width, image.height);
    this.#tint = new OffscreenCanvas(image.width, image.height);
    this.history = new History(strokes);
    this.#imports = await readImports(strokes);
    this.frame = { x: 0, y: 0, width: image.width, height: image.height };
    this.#resize();
    this.fit();
    this.#redraw();
  }

  // --- the mask -----------------------------------------------------------------

  undo(): void {
    if (this.history.undo()) this.#changed();
  }

  redo(): void {
    if (this.history.redo()) this.#changed();
  }

  async add(stroke: Stroke): Promise<void> {
    this.history.add(stroke);
    if (stroke.tool === "import") this.#imports = await readImports(this.history.strokes);
    this.#changed();
  }

  #changed(): void {
    this.#redraw();
    this.dispatchEvent(new CustomEvent("stroke", { bubbles: true }));
  }

  #redraw(): void {
    if (this.#mask === null) return;
    drawAll(this.#mask.getContext("2d")!, this.history.strokes, this.#imports);
    this.paint();
  }

  // --- the view -----------------------------------------------------------------

  fit(): void {
    const frame = this.frame;
    if (this.#image === null || frame === null || this.clientWidth === 0) return;
    const pad = 28;
    const left = Math.min(0, frame.x);
    const top = Math.min(0, frame.y);
    const width = Math.max(this.imageWidth, frame.x + frame.width) - left;
    const height = Math.max(this.imageHeight, frame.y + frame.height) - top;
    const across = (this.clientWidth - 2 * pad) / width;
    this.#scale = Math.max(0.01, Math.min(across, (this.clientHeight - 2 * pad) / height));
    this.#x = (this.clientWidth - width * this.#scale) / 2 - left * this.#scale;
    this.#y = (this.clientHeight - height * this.#scale) / 2 - top * this.#scale;
    this.#isFitted = true;
    this.paint();
  }

  zoom(factor: number, x = this.clientWidth / 2, y = this.clientHeight / 2): void {
    const scale = clamp(this.#scale * factor, 0.02, 32);
    const by = scale / this.#scale;
    this.#x = x - (x - this.#x) * by;
    this.#y = y - (y - this.#y) * by;
    this.#scale = scale;
    this.#isFitted = false;
    this.paint();
  }

  #resize(): void {
    const canvas = this.querySelector("canvas");
    if (canvas === null || this.clientWidth === 0) return;
    canvas.width = Math.round(this.clientWidth * devicePixelRatio);
    canvas.height = Math.round(this.clientHeight * devicePixelRatio);
    if (this.#isFitted) this.fit();
    this.paint();
  }

  paint(): void {
    this.#frameRequest ||= requestAnimationFrame(() => {
      this.#frameRequest = 0;
      this.#paintNow();
    });
  }

  #paintNow(): void {
    const canvas = this.querySelector("canvas");
    const paint = canvas?.getContext("2d");
    if (canvas == null || paint == null || this.#image === null) return;
    const unit = devicePixelRatio;
    paint.setTransform(1, 0, 0, 1, 0, 0);
    paint.clearRect(0, 0, canvas.width, canvas.height);
    paint.setTransform(this.#scale * unit, 0, 0, this.#scale * unit, this.#x * unit, this.#y * unit);
    paint.imageSmoothingEnabled = this.#scale < 3;
    paint.drawImage(this.#image, 0, 0);
    this.#paintMask(paint);
    if (this.mode === "frame") this.#paintFrame(paint);
    else {
      this.#paintBrush(paint);
      this.#paintCursor(paint);
    }
  }

  #paintMask(paint: CanvasRenderingContext2D): void {
    if (this.mode !== "mask") return;
    const tint = this.#tint!.getContext("2d")!;
    tint.globalCompositeOperation = "copy";
    tint.filter = this.feather > 0 ? `blur(${this.feather}px)` : "none";
    tint.drawImage(this.#mask!, 0, 0);
    tint.filter = "none";
    tint.globalCompositeOperation = "source-in";
    tint.fillStyle = this.color;
    tint.fillRect(0, 0, this.imageWidth, this.imageHeight);
    paint.globalAlpha = 0.55;
    paint.drawImage(this.#tint!, 0, 0);
    paint.globalAlpha = 1;
    this.#paintArea(paint);
  }

  /** The lasso or rectangle while it is drawn. */
  #paintArea(paint: CanvasRenderingContext2D): void {
    const gesture = this.#gesture;
    if (gesture?.kind !== "stroke") return;
    const { tool } = gesture.stroke;
    if (tool !== "lasso" && tool !== "rectangle") return;
    const [first] = gesture.points;
    const last = gesture.points.at(-1)!;
    paint.lineWidth = 1.5 / this.#scale;
    paint.strokeStyle = "#fff";
    paint.fillStyle = `${this.color}66`;
    paint.beginPath();
    if (tool === "rectangle") paint.rect(first![0], first![1], last[0] - first![0], last[1] - first![1]);
    else for (const [x, y] of gesture.points) paint.lineTo(x, y);
    paint.fill();
    paint.stroke();
  }

  #paintFrame(paint: CanvasRenderingContext2D): void {
    const frame = this.frame!;
    const { canvas } = paint;
    paint.save();
    paint.setTransform(1, 0, 0, 1, 0, 0);
    const unit = devicePixelRatio;
    const box = [
      (this.#x + frame.x * this.#scale) * unit, (this.#y + frame.y * this.#scale) * unit,
      frame.width * this.#scale * unit, frame.height * this.#scale * unit,
    ] as const;
    paint.fillStyle = "#0009";
    paint.beginPath();
    paint.rect(0, 0, canvas.width, canvas.height);
    paint.rect(...box);
    paint.fill("evenodd");
    paint.lineWidth = 2 * unit;
    paint.strokeStyle = this.color;
    paint.strokeRect(...box);
    paint.fillStyle = "#fff";
    for (const handle of HANDLES) {
      const spot = this.#spotOf(handle, frame);
      const side = 10 * unit;
      paint.fillRect(spot.x * unit - side / 2, spot.y * unit - side / 2, side, side);
      paint.strokeRect(spot.x * unit - side / 2, spot.y * unit - side / 2, side, side);
    }
    paint.restore();
  }

  /** A cross where the keyboard draws. */
  #paintCursor(paint: CanvasRenderingContext2D): void {
    if (this.#cursor === null) return;
    const { x, y } = this.#onScreen(this.#cursor);
    const unit = devicePixelRatio;
    paint.setTransform(unit, 0, 0, unit, 0, 0);
    for (const [color, width] of [["#000", 4], [this.isDrawing ? this.color : "#fff", 2]] as const) {
      paint.lineWidth = width;
      paint.strokeStyle = color;
      paint.beginPath();
      paint.moveTo(x - 9, y);
      paint.lineTo(x + 9, y);
      paint.moveTo(x, y - 9);
      paint.lineTo(x, y + 9);
      paint.stroke();
    }
  }

  #paintBrush(paint: CanvasRenderingContext2D): void {
    const spot = this.#cursor === null ? this.#hover : this.#onScreen(this.#cursor);
    if (spot === null || (this.tool !== "brush" && this.tool !== "eraser")) return;
    const unit = devicePixelRatio;
    paint.setTransform(unit, 0, 0, unit, 0, 0);
    for (const [color, width] of [["#000a", 3], ["#fff", 1.5]] as const) {
      paint.lineWidth = width;
      paint.strokeStyle = color;
      paint.beginPath();
      paint.arc(spot.x, spot.y, (this.size * this.#scale) / 2, 0, 2 * Math.PI);
      paint.stroke();
    }
  }

  // --- pointers -----------------------------------------------------------------

  #pointOf(event: PointerEvent): Point {
    const isPen = event.pointerType === "pen" && event.pressure > 0;
    return [
      (event.offsetX - this.#x) / this.#scale, (event.offsetY - this.#y) / this.#scale,
      this.size * (isPen ? 0.3 + event.pressure * 0.7 : 1),
    ];
  }

  #onDown(event: PointerEvent): void {
    this.#endKeyStroke();
    this.#cursor = null;
    this.#hasMoved ||= this.#isSpace;
    (event.currentTarget as HTMLElement).setPointerCapture(event.pointerId);
    this.#pointers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    if (this.#pointers.size === 2) {
      // A second finger zooms: what the first one has begun was no stroke.
      this.#gesture = { kind: "pan" };
      this.#redraw();
    } else if (event.button === 1 || this.#isSpace || (this.tool === "pan" && this.mode === "mask")) {
      this.#gesture = { kind: "pan" };
    } else if (this.mode === "frame") {
      this.#gesture = this.#takeHandle(event);
    } else this.#beginStroke(event);
  }

  #beginStroke(event: PointerEvent): void {
    const points: Point[] = [this.#pointOf(event)];
    this.#startStroke(points, event.altKey || event.button === 5);
  }

  #startStroke(points: Point[], erase: boolean, isByKey = false): void {
    const tool = this.tool;
    if (tool === "pan") return;
    const stroke: Stroke = tool === "lasso" || tool === "rectangle"
      ? { tool, erase, points } : { tool: erase ? "eraser" : tool, points };
    this.#gesture = { kind: "stroke", stroke, points, isByKey };
    this.#drawFrom(stroke, 0);
  }

  #onMove(event: PointerEvent): void {
    this.#hover = { x: event.offsetX, y: event.offsetY };
    const before = this.#pointers.get(event.pointerId);
    const gesture = this.#gesture;
    if (gesture?.kind === "pan" && before !== undefined) this.#pan(event, before);
    else if (gesture?.kind === "frame") this.#dragFrame(event, gesture);
    else if (gesture?.kind === "stroke" && !gesture.isByKey) {
      const from = gesture.points.length;
      const events = event.getCoalescedEvents?.() ?? [];
      for (const one of events.length > 0 ? events : [event]) gesture.points.push(this.#pointOf(one));
      this.#drawFrom(gesture.stroke, from);
    }
    if (before !== undefined) this.#pointers.set(event.pointerId, this.#hover);
    this.paint();
  }

  #drawFrom(stroke: Stroke, from: number): void {
    if (stroke.tool === "brush" || stroke.tool === "eraser") {
      drawStroke(this.#mask!.getContext("2d")!, stroke, this.#imports, from);
    }
    this.paint();
  }

  #pan(event: PointerEvent, before: { x: number; y: number }): void {
    const other = [...this.#pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (other !== undefined) {
      const distance = (spot: { x: number; y: number }): number =>
        Math.hypot(spot.x - other.x, spot.y - other.y);
      const factor = distance({ x: event.offsetX, y: event.offsetY }) / Math.max(1, distance(before));
      this.zoom(factor, other.x, other.y);
      return;
    }
    this.#isFitted = false;
    this.#x += event.offsetX - before.x;
    this.#y += event.offsetY - before.y;
  }

  #onUp(event: PointerEvent): void {
    this.#pointers.delete(event.pointerId);
    const gesture = this.#gesture;
    if (this.#pointers.size > 0) return;
    this.#gesture = null;
    if (gesture?.kind === "stroke" && event.type === "pointerup") {
      this.history.add(gesture.stroke);
      this.#changed();
    } else if (gesture?.kind === "stroke") this.#redraw();
    else if (gesture?.kind === "frame") {
      this.dispatchEvent(new CustomEvent("frame", { bubbles: true }));
    }
  }

  #leave(): void {
    this.#hover = null;
    this.paint();
  }

  #onWheel(event: WheelEvent): void {
    event.preventDefault();
    this.zoom(Math.exp(-event.deltaY / 420), event.offsetX, event.offsetY);
  }

  // --- the frame of crop and outpaint -------------------------------------------

  #spotOf(handle: string, frame: Frame): { x: number; y: number } {
    const across = handle.includes("w") ? 0 : handle.includes("e") ? 1 : 0.5;
    const down = handle.includes("n") ? 0 : handle.includes("s") ? 1 : 0.5;
    return {
      x: this.#x + (frame.x + frame.width * across) * this.#scale,
      y: this.#y + (frame.y + frame.height * down) * this.#scale,
    };
  }

  #takeHandle(event: PointerEvent): Gesture {
    const frame = this.frame!;
    const handle = HANDLES.find((name) => {
      const spot = this.#spotOf(name, frame);
      return Math.hypot(spot.x - event.offsetX, spot.y - event.offsetY) < REACH;
    }) ?? "move";
    return { kind: "frame", handle, start: frame, x: event.offsetX, y: event.offsetY };
  }

  #dragFrame(event: PointerEvent, gesture: { handle: string; start: Frame; x: number; y: number }): void {
    const dx = Math.round((event.offsetX - gesture.x) / this.#scale);
    const dy = Math.round((event.offsetY - gesture.y) / this.#scale);
    const { start, handle } = gesture;
    if (handle === "move") {
      this.frame = { ...start, x: start.x + dx, y: start.y + dy };
      return;
    }
    const left = handle.includes("w") ? Math.min(start.x + dx, start.x + start.width - 16) : start.x;
    const top = handle.includes("n") ? Math.min(start.y + dy, start.y + start.height - 16) : start.y;
    const right = start.x + start.width + (handle.includes("e") ? dx : 0);
    const bottom = start.y + start.height + (handle.includes("s") ? dy : 0);
    this.frame = {
      x: left, y: top, width: Math.max(16, right - left), height: Math.max(16, bottom - top),
    };
  }

  // --- keyboard -----------------------------------------------------------------

  #onKey(event: KeyboardEvent): void {
    const isCommand = event.ctrlKey || event.metaKey;
    const key = event.key.toLowerCase();
    const actions: Record<string, () => void> = {
      " ": () => this.#pressSpace(event.repeat),
      "[": () => this.#tell("brush-size", 0.8),
      "]": () => this.#tell("brush-size", 1.25),
      "+": () => this.zoom(1.25),
      "-": () => this.zoom(0.8),
      "0": () => this.fit(),
      b: () => this.#tell("tool", "brush"),
      e: () => this.#tell("tool", "eraser"),
      l: () => this.#tell("tool", "lasso"),
      r: () => this.#tell("tool", "rectangle"),
      i: () => void this.add({ tool: "invert" }),
    };
    if (key !== " " && key !== "shift" && ARROWS[key] === undefined) this.#endKeyStroke(key !== "escape");
    if (isCommand && key === "z") (event.shiftKey ? this.redo() : this.undo());
    else if (isCommand && key === "y") this.redo();
    else if (!isCommand && ARROWS[key] !== undefined) this.#onArrow(ARROWS[key], event.shiftKey);
    else if (!isCommand && actions[key] !== undefined) actions[key]();
    else return;
    event.preventDefault();
  }

  #pressSpace(isRepeated: boolean): void {
    this.#isSpace = true;
    if (!isRepeated) this.#hasMoved = false;
  }

  #onKeyUp(event: KeyboardEvent): void {
    if (event.key !== " ") return;
    const isAlone = this.#isSpace && !this.#hasMoved;
    this.#isSpace = false;
    // With the pointer it has moved the view, and draws nothing.
    if (isAlone && this.mode === "mask") this.#startOrEndByKey(event.altKey);
  }

  #onArrow([x, y]: readonly [number, number], isFine: boolean): void {
    const step = isFine ? FINE_STEP : STEP;
    if (this.mode === "frame") this.#moveFrame(x, y, isFine);
    else if (this.tool !== "pan") this.#moveCursor(x * step, y * step);
    else {
      this.#isFitted = false;
      this.#x -= 40 * x;
      this.#y -= 40 * y;
    }
    this.paint();
  }

  /** Move the frame, or its lower right corner. */
  #moveFrame(x: number, y: number, isCorner: boolean): void {
    const { frame } = this;
    if (frame === null) return;
    const step = Math.max(1, Math.round(STEP / this.#scale));
    this.frame = isCorner ? {
      ...frame, width: Math.max(16, frame.width + x * step), height: Math.max(16, frame.height + y * step),
    } : { ...frame, x: frame.x + x * step, y: frame.y + y * step };
    this.dispatchEvent(new CustomEvent("frame", { bubbles: true }));
  }

  #moveCursor(dx: number, dy: number): void {
    const from = this.#cursor ?? this.#middle();
    this.#cursor = {
      x: clamp(from.x + dx / this.#scale, 0, this.imageWidth),
      y: clamp(from.y + dy / this.#scale, 0, this.imageHeight),
    };
    this.#follow();
    const gesture = this.#gesture;
    if (gesture?.kind !== "stroke" || !gesture.isByKey) return;
    gesture.points.push(this.#cursorPoint());
    this.#drawFrom(gesture.stroke, gesture.points.length - 1);
  }

  /** The part of the image in the middle of the view. */
  #middle(): { x: number; y: number } {
    return {
      x: clamp((this.clientWidth / 2 - this.#x) / this.#scale, 0, this.imageWidth),
      y: clamp((this.clientHeight / 2 - this.#y) / this.#scale, 0, this.imageHeight),
    };
  }

  #onScreen({ x, y }: { x: number; y: number }): { x: number; y: number } {
    return { x: this.#x + x * this.#scale, y: this.#y + y * this.#scale };
  }

  /** Move the view so that the cursor stays in it. */
  #follow(): void {
    const { x, y } = this.#onScreen(this.#cursor!);
    const [dx, dy] = [clamp(x, 0, this.clientWidth) - x, clamp(y, 0, this.clientHeight) - y];
    if (dx === 0 && dy === 0) return;
    this.#isFitted = false;
    this.#x += dx;
    this.#y += dy;
  }

  #cursorPoint(): Point {
    const { x, y } = this.#cursor!;
    return [x, y, this.size];
  }

  #startOrEndByKey(erase: boolean): void {
    if (this.#gesture !== null) {
      this.#endKeyStroke();
      return;
    }
    this.#cursor ??= this.#middle();
    this.#startStroke([this.#cursorPoint()], erase, true);
    this.isDrawing = this.#gesture !== null;
  }

  /** End the stroke that the keyboard draws, and keep it or not. */
  #endKeyStroke(isKept = true): void {
    const gesture = this.#gesture;
    if (gesture?.kind !== "stroke" || !gesture.isByKey) return;
    this.#gesture = null;
    this.isDrawing = false;
    if (isKept) {
      this.history.add(gesture.stroke);
      this.#changed();
    } else this.#redraw();
  }

  #tell(name: string, detail: unknown): void {
    this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true }));
  }
}

declare global {
  interface HTMLElementTagNameMap {
    "imagen-canvas": MaskCanvas;
  }
}
