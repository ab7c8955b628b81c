/**
 * Runs before every test file. Property tests draw the same values every day, so that a failure is the change's and not
 * chance's; `npm run test:all` draws fresh ones. fast-check prints the seed of a failure.
 */
import fc from "fast-check";
import { everyday } from "./everyday.ts";

fc.configureGlobal({ seed: everyday(1, Date.now() | 0) });

// nmap's formats have local times.
process.env["TZ"] = "UTC";
