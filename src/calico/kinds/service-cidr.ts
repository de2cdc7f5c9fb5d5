import { canonicalPrefix } from '../../ip/spelling.js';
import { type Kind, pickFields } from './kind.js';

/** Prefixes of which services get their cluster addresses. */
export interface ServiceCidr {
  readonly prefixes: readonly string[];
}

/** Not served before Kubernetes 1.33. */
export const service_cidr_kind: Kind<ServiceCidr> = {
  name: 'ServiceCIDR',
  plural: 'servicecidrs',
  versions: ['networking.k8s.io/v1'],
  absence: 'empty',
  page: 100,
  objects_max: 1000,
  pick: (_name, object) =>
    pickFields(object, (fields) => ({
      prefixes: fields.object('spec').plain('cidrs', 'a prefix such as 10.96.0.0/16', canonicalCidr),
    })),
};

const canonicalCidr = (value: unknown) =>
  typeof value === 'string' ? canonicalPrefix(value.trim()) : undefined;
