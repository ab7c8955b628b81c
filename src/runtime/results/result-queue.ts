/**
 * A bounded queue between a run and the code that iterates over its results. When it is full the run waits.
 */

export interface ResultQueue<T> {
  push(item: T): void;
  /** Undefined while there is room; else a promise that settles when half of the queue has been taken. */
  room(): Promise<void> | undefined;
  /** Ends the iteration after what is queued; with `failure`, by throwing that once. */
  end(failure?: { readonly error: unknown }): void;
  /** The consumer's side. `return` drops what is queued and ends the iteration. */
  readonly iterator: Required<AsyncIterator<T, undefined, undefined>>;
}

interface Waiter<T> {
  resolve(result: IteratorResult<T, undefined>): void;
  reject(error: unknown): void;
}

/**
 * @param most items queued before `room` returns a promise
 * @param onReturn called whenever the consumer stops early; settles when the run has ended
 */
export function createResultQueue<T>(most: number, onReturn: () => Promise<void>): ResultQueue<T> {
  let waiting: T[] = [];
  /** How many of `waiting` have been taken. */
  let taken = 0;
  const waiters: Waiter<T>[] = [];
  let ended = false;
  let failure: { readonly error: unknown } | undefined;
  let full: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined;

  function makeRoom(): void {
    if (full === undefined || waiting.length - taken > most / 2) return;
    full.resolve();
    full = undefined;
  }

  function clear(): void {
    waiting = [];
    taken = 0;
    makeRoom();
  }

  function take(): T {
    const item = waiting[taken++];
    if (taken === waiting.length) clear();
    else {
      // A reader that is slower than the run never takes all: what it has taken goes once it is the greater part.
      if (2 * taken > waiting.length) {
        waiting = waiting.slice(taken);
        taken = 0;
      }
      makeRoom();
    }
    return item;
  }

  function settleLast({ resolve, reject }: Waiter<T>): void {
    if (failure === undefined) resolve({ done: true, value: undefined });
    else reject(failure.error);
    failure = undefined;
  }

  function end(why?: { readonly error: unknown }): void {
    if (ended) return;
    ended = true;
    failure = why;
    for (const waiter of waiters.splice(0)) settleLast(waiter);
  }

  const next = (): Promise<IteratorResult<T, undefined>> =>
    new Promise((resolve, reject) => {
      if (waiting.length > 0) resolve({ done: false, value: take() });
      else if (ended) settleLast({ resolve, reject });
      else waiters.push({ resolve, reject });
    });

  async function leave(): Promise<void> {
    end();
    failure = undefined;
    clear();
    await onReturn();
  }

  return {
    push: (item) => {
      if (ended) return;
      const waiter = waiters.shift();
      if (waiter === undefined) waiting.push(item);
      else waiter.resolve({ done: false, value: item });
    },
    room: () => {
      if (waiting.length - taken < most) return full?.promise;
      if (full === undefined) {
        let resolve = (): void => {};
        const promise = new Promise<void>((onResolve) => {
          resolve = onResolve;
        });
        full = { promise, resolve };
      }
      return full.promise;
    },
    end,
    iterator: {
      next,
      return: async () => {
        await leave();
        return { done: true, value: undefined };
      },
      throw: async (error: unknown) => {
        await leave();
        throw error;
      },
    },
  };
}
