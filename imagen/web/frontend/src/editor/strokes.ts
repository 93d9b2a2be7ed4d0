// A mask as data: a list of strokes, drawn when it is needed. Undo and redo move one stroke from
// one list to the other, so that nothing of the mask is ever lost or baked into the image.

export type Point = readonly [x: number, y: number, width: number];

export interface Line {
  readonly tool: "brush" | "eraser";
  readonly points: readonly Point[];
}

export interface Area {
  readonly tool: "lasso" | "rectangle";
  readonly erase: boolean;
  readonly points: readonly Point[];
}

export type Stroke =
  | Line
  | Area
  | { readonly tool: "import"; readonly image: Blob }
  | { readonly tool: "invert" | "clear" };

export type Tool = "brush" | "eraser" | "lasso" | "rectangle" | "pan";

export interface MaskData {
  readonly width: number;
  readonly height: number;
  readonly feather: number;
  readonly strokes: readonly Stroke[];
}

export type Paint = CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D;

/** The strokes of a mask with exact undo and redo. */
export class History {
  #done: Stroke[];
  #undone: Stroke[] = [];

  constructor(strokes: readonly Stroke[] = []) {
    this.#done = [...strokes];
  }

  get strokes(): readonly Stroke[] {
    return this.#done;
  }

  get canUndo(): boolean {
    return this.#done.length > 0;
  }

  add(stroke: Stroke): void {
    this.#done.push(stroke);
    this.#undone = [];
  }

  undo(): boolean {
    return move(this.#done, this.#undone);
  }

  redo(): boolean {
    return move(this.#undone, this.#done);
  }
}

function move(from: Stroke[], to: Stroke[]): boolean {
  const stroke = from.pop();
  if (stroke === undefined) return false;
  to.push(stroke);
  return true;
}

/** Draw one stroke, from its `from`-th point on; images of imports are looked up in `images`. */
export function drawStroke(
  paint: Paint, stroke: Stroke, images: ReadonlyMap<Blob, ImageBitmap>, from = 0,
): void {
  const { width, height } = paint.canvas;
  paint.save();
  paint.fillStyle = paint.strokeStyle = "#fff";
  if (stroke.tool === "clear") {
    paint.clearRect(0, 0, width, height);
  } else if (stroke.tool === "invert") {
    paint.globalCompositeOperation = "xor";
    paint.fillRect(0, 0, width, height);
  } else if (stroke.tool === "import") {
    const image = images.get(stroke.image);
    if (image !== undefined) paint.drawImage(image, 0, 0, width, height);
  } else if (stroke.tool === "lasso" || stroke.tool === "rectangle") {
    fillArea(paint, stroke.points, stroke.tool, stroke.erase);
  } else if (stroke.tool === "brush" || stroke.tool === "eraser") {
    drawLine(paint, stroke.points, stroke.tool === "eraser", from);
  }
  paint.restore();
}

function drawLine(paint: Paint, points: readonly Point[], erase: boolean, from: number): void {
  paint.globalCompositeOperation = erase ? "destination-out" : "source-over";
  paint.lineCap = paint.lineJoin = "round";
  for (let at = from; at < points.length; at += 1) {
    const [x, y, width] = points[at]!;
    const [startX, startY] = points[at - 1] ?? points[at]!;
    paint.lineWidth = width;
    paint.beginPath();
    paint.moveTo(startX, startY);
    // A line of no length draws no dot.
    paint.lineTo(x, y + (at === 0 ? 0.01 : 0));
    paint.stroke();
  }
}

function fillArea(
  paint: Paint, points: readonly Point[], tool: "lasso" | "rectangle", erase: boolean,
): void {
  const [first] = points;
  const last = points.at(-1);
  if (first === undefined || last === undefined) return;
  paint.globalCompositeOperation = erase ? "destination-out" : "source-over";
  if (tool === "rectangle") {
    paint.fillRect(first[0], first[1], last[0] - first[0], last[1] - first[1]);
    return;
  }
  paint.beginPath();
  for (const [x, y] of points) paint.lineTo(x, y);
  paint.closePath();
  paint.fill();
}

export function drawAll(
  paint: Paint, strokes: readonly Stroke[], images: ReadonlyMap<Blob, ImageBitmap>,
): void {
  paint.clearRect(0, 0, paint.canvas.width, paint.canvas.height);
  for (const stroke of strokes) drawStroke(paint, stroke, images);
}

/** The bitmaps of the masks that were imported. */
export async function readImports(strokes: readonly Stroke[]): Promise<Map<Blob, ImageBitmap>> {
  const images = new Map<Blob, ImageBitmap>();
  for (const stroke of strokes) {
    if (stroke.tool === "import") images.set(stroke.image, await maskOf(stroke.image));
  }
  return images;
}

/** White with the darkness of the file as its transparency: a mask as it is drawn here. */
async function maskOf(file: Blob): Promise<ImageBitmap> {
  const image = await createImageBitmap(file);
  const canvas = new OffscreenCanvas(image.width, image.height);
  const paint = canvas.getContext("2d")!;
  paint.drawImage(image, 0, 0);
  const data = paint.getImageData(0, 0, canvas.width, canvas.height);
  for (let at = 0; at < data.data.length; at += 4) {
    const light = (data.data[at]! + data.data[at + 1]! + data.data[at + 2]!) / 3;
    data.data[at + 3] = Math.round((light * data.data[at + 3]!) / 255);
    data.data[at] = data.data[at + 1] = data.data[at + 2] = 255;
  }
  paint.putImageData(data, 0, 0);
  return createImageBitmap(canvas);
}

/** The mask as a file: white is to change, black stays. */
export async function exportMask(data: MaskData): Promise<Blob> {
  const images = await readImports(data.strokes);
  const drawn = new OffscreenCanvas(data.width, data.height);
  drawAll(drawn.getContext("2d")!, data.strokes, images);
  const file = new OffscreenCanvas(data.width, data.height);
  const paint = file.getContext("2d")!;
  paint.fillStyle = "#000";
  paint.fillRect(0, 0, data.width, data.height);
  if (data.feather > 0) paint.filter = `blur(${data.feather}px)`;
  paint.drawImage(drawn, 0, 0);
  if (data.feather === 0) harden(paint, data.width, data.height);
  return file.convertToBlob({ type: "image/png" });
}

/** Edges of drawn lines are smooth; a mask without feather is black and white. */
function harden(paint: OffscreenCanvasRenderingContext2D, width: number, height: number): void {
  const pixels = paint.getImageData(0, 0, width, height);
  const words = new Uint32Array(pixels.data.buffer);
  for (let at = 0; at < words.length; at += 1) {
    words[at] = (words[at]! & 0xff) >= 128 ? 0xffffffff : 0xff000000;
  }
  paint.putImageData(pixels, 0, 0);
}
