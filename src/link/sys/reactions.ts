/**
 * Lets what waits for a promise go on after native code has called JavaScript from the event loop.
 *
 * koffi's poll handle and raw-socket make a plain call (napi_call_function, Nan::Call), after which Node runs no reactions of promises:
 * that takes node::MakeCallback. Up to Node 24 they ran all the same. From Node 26 on they wait until Node itself calls something: a run
 * that ended in such a call was heard of when its next timer went off, a tenth of a second later.
 */

let coming = false;
const came = (): void => {
  coming = false;
};

/** Has Node call something in this turn of the event loop: an immediate comes right after the polling, and reactions after that. */
export function letReactionsRun(): void {
  if (coming) return;
  coming = true;
  setImmediate(came);
}
