// What the page shows now.

export const page = { overview: null, pipeline: "", panel: "", chosen: false, minutes: 60, paused: false, browser: "connecting" };

export const pipeline = () => page.overview?.pipelines.find((p) => p.name === page.pipeline);
export const panel = () => pipeline()?.panels.find((p) => p.id === page.panel);
