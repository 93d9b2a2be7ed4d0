// What can wait is done once the page has fetched nothing for a moment: so the user never waits for
// it.
let fetchedAt = Date.now();

new PerformanceObserver((list) => {
  if (list.getEntries().some((one) => !isKept(one as PerformanceResourceTiming))) fetchedAt = Date.now();
}).observe({ type: "resource" });

/** Whether it was fetched to be kept, which waits for quiet itself. */
function isKept({ name, initiatorType }: PerformanceResourceTiming): boolean {
  return initiatorType === "fetch" && name.includes("/thumbnail/");
}

/** Wait until nothing was fetched for `pause` milliseconds, or `most` have passed. */
export async function quiet(pause: number, most: number): Promise<void> {
  const latest = Date.now() + most;
  for (;;) {
    const left = Math.min(fetchedAt + pause, latest) - Date.now();
    if (left <= 0) return;
    await new Promise((done) => setTimeout(done, left));
  }
}
