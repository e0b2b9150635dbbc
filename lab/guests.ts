// The guests of `npm run interop`: what each runs, as arguments of interop-uml.ts. A guest has one processor and ends with its run.

const PLANES = ['engine', 'xfrm'] as const;

/** Without `--all`. */
export const SHORT_GUESTS: readonly string[][] = [['--peer', 'strongswan', '--plain']];

export const GUESTS: readonly string[][] = [
  ...PLANES.map((plane) => ['--peer', 'strongswan', '--dataplane', plane]),
  ...PLANES.map((plane) => ['--peer', 'libreswan', '--dataplane', plane]),
  ...PLANES.map((plane) => ['--peer', 'kernel', '--dataplane', plane]),
];
