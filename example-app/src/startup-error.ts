/** Something that the person who starts the site can mend. It is printed as it stands, without a stack. */
export class StartupError extends Error {
  override name = 'StartupError';
}

/** The code of a system error (`EADDRINUSE`, `EACCES`, ...), or else its message. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return 'code' in error && typeof error.code === 'string' ? error.code : error.message;
}
