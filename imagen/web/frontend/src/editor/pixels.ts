// Pixels that the editor draws itself: frames (crop and outpaint), turned and mirrored images.
import type { Frame } from "./canvas";

function canvasOf(width: number, height: number): [OffscreenCanvas, OffscreenCanvasRenderingContext2D] {
  const canvas = new OffscreenCanvas(width, height);
  return [canvas, canvas.getContext("2d")!];
}

export async function turned(image: ImageBitmap): Promise<ImageBitmap> {
  const [canvas, paint] = canvasOf(image.height, image.width);
  paint.translate(image.height, 0);
  paint.rotate(Math.PI / 2);
  paint.drawImage(image, 0, 0);
  return createImageBitmap(canvas);
}

export async function flipped(image: ImageBitmap): Promise<ImageBitmap> {
  const [canvas, paint] = canvasOf(image.width, image.height);
  paint.scale(-1, 1);
  paint.drawImage(image, -image.width, 0);
  return createImageBitmap(canvas);
}

export function resized(image: ImageBitmap, width: number, height: number): Promise<ImageBitmap> {
  return createImageBitmap(image, {
    resizeWidth: width, resizeHeight: height, resizeQuality: "high",
  });
}

/**
 * The image within a frame. Where the frame is larger, its margins repeat the edge, softly, and
 * the mask is white there: the model paints what belongs there.
 */
export async function exportFrame(
  image: ImageBitmap, frame: Frame,
): Promise<{ image: Blob; mask: Blob | null }> {
  const [canvas, paint] = canvasOf(frame.width, frame.height);
  const isLarger = frame.x < 0 || frame.y < 0
    || frame.x + frame.width > image.width || frame.y + frame.height > image.height;
  if (isLarger) {
    paint.filter = `blur(${Math.round(Math.max(frame.width, frame.height) / 40)}px)`;
    paint.drawImage(image, 0, 0, frame.width, frame.height);
    paint.filter = "none";
  }
  paint.drawImage(image, -frame.x, -frame.y);
  const drawn = await canvas.convertToBlob({ type: "image/png" });
  return { image: drawn, mask: isLarger ? await marginsOf(image, frame) : null };
}

async function marginsOf(image: ImageBitmap, frame: Frame): Promise<Blob> {
  const [canvas, paint] = canvasOf(frame.width, frame.height);
  paint.fillStyle = "#fff";
  paint.fillRect(0, 0, frame.width, frame.height);
  paint.fillStyle = "#000";
  paint.fillRect(-frame.x, -frame.y, image.width, image.height);
  return canvas.convertToBlob({ type: "image/png" });
}
