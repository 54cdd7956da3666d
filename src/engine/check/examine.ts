/** Looking for features, and what follows from what was found. */
import { asStasisError } from '../../base/errors.ts';
import { logDebug } from '../../base/log.ts';
import type { Feature, Finding } from './feature.ts';

/** `good`: everything that was asked for; `partial`: something only some programs need is missing; `bad`: no. */
export type Verdict = 'good' | 'partial' | 'bad';

/** Which classes count for the verdict besides the required features. */
export interface Demand {
  readonly extra: boolean;
  readonly experimental: boolean;
}

/** Looks for one feature. Never throws: that a probe could not be made is an answer. */
export function examine(feature: Feature): Finding {
  const began = performance.now();
  const missing = look(feature);
  const took = (performance.now() - began).toFixed(1);
  logDebug(`${feature.name}: ${missing === undefined ? 'there' : `missing (${missing})`}, ${took} ms`);
  return { feature, missing };
}

function look({ probe }: Feature): string | undefined {
  try {
    return probe();
  } catch (error) {
    return asStasisError(error).message;
  }
}

/** Looks for all features that have a meaning on this machine. */
export function examineAll(features: readonly Feature[]): Finding[] {
  return features.filter(({ applies }) => applies?.() ?? true).map(examine);
}

/** What the findings come to, by CRIU's rules. */
export function verdictOn(findings: readonly Finding[], demand: Demand): Verdict {
  const lacks = (category: Feature['category']): boolean =>
    findings.some(({ feature, missing }) => feature.category === category && missing !== undefined);
  if (lacks('required')) return 'bad';
  return (demand.extra && lacks('extra')) || (demand.experimental && lacks('experimental')) ? 'partial' : 'good';
}
