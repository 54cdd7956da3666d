/** Probes features and derives the verdict of `check`. */
import { asStasisError } from '../../base/errors.ts';
import { logDebug } from '../../base/log.ts';
import type { Feature, Finding } from './feature.ts';

/**
 * `good`: everything requested is there. `partial`: something that only some programs need is missing. `bad`: something
 * required is missing.
 */
export type Verdict = 'good' | 'partial' | 'bad';

/** The classes that count for the verdict in addition to the required features. */
export interface Demand {
  readonly extra: boolean;
  readonly experimental: boolean;
}

/** Probes one feature. It never throws: if a probe cannot be made, the reason is the finding. */
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

/** Probes all features that apply to this machine. */
export function examineAll(features: readonly Feature[]): Finding[] {
  return features.filter(({ applies }) => applies?.() ?? true).map(examine);
}

/** The verdict on findings, by CRIU's rules. */
export function verdictOn(findings: readonly Finding[], demand: Demand): Verdict {
  const lacks = (category: Feature['category']): boolean =>
    findings.some(({ feature, missing }) => feature.category === category && missing !== undefined);
  if (lacks('required')) return 'bad';
  return (demand.extra && lacks('extra')) || (demand.experimental && lacks('experimental')) ? 'partial' : 'good';
}
