declare const __SPIN_USP_VERSION__: string | undefined;

/** From package.json, put in by the build; sources that run unbuilt (tests) say so. */
export const VERSION = typeof __SPIN_USP_VERSION__ === "string" ? __SPIN_USP_VERSION__ : "0.0.0-unbuilt";
