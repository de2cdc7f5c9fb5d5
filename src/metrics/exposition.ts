/** Families as the text that Prometheus reads, in either of its two forms. */
import { type Metric, Registry, type RegistryContentType } from 'prom-client';
import type { Family } from './samples.js';

export type Format = 'text' | 'openmetrics';

export interface Exposition {
  readonly content_type: string;
  readonly body: string;
}

/** A counter of OpenMetrics has a name that ends so; one of the Go implementation, which does not, would get another name by it. */
const counts = (name: string): boolean => name.endsWith('_total');

/** What prom-client asks of a metric: its values are made here, at the scrape. */
function metricOf({ name, type, help, samples }: Family, format: Format) {
  return {
    name,
    type: format === 'openmetrics' && type === 'counter' && !counts(name) ? 'unknown' : type,
    help,
    get() {
      // The registry may have taken `_total` off.
      const { name: shown } = this;
      const values = samples.map(({ labels, value, suffix }) => ({
        labels,
        value,
        ...(suffix !== undefined && { metricName: `${shown}${suffix}` }),
      }));
      return Promise.resolve({ name: shown, type: this.type, help, values });
    },
  };
}

/** Throws where a name comes twice. */
export async function exposition(families: readonly Family[], format: Format): Promise<Exposition> {
  const registry = new Registry<RegistryContentType>();
  if (format === 'openmetrics') registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
  for (const family of families) registry.registerMetric(metricOf(family, format) as unknown as Metric);
  return { content_type: registry.contentType, body: await registry.metrics() };
}
