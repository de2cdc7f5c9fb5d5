/** What the parts of the tree are made of beside their own settings. */
import type { ConditionBoard } from '../debug/conditions.js';
import type { SyncReports } from '../debug/sync-reports.js';
import type { NetworkAddresses } from '../desired/network-addresses.js';
import type { CniCounts } from '../metrics/cni-counts.js';
import type { SoftwareChecksums } from '../pods/software-checksums.js';
import type { PolicedInterfaces } from '../policies/policed-interfaces.js';
import type { TranslationOwners } from '../reconcile/translation-owners.js';
import type { HealthPorts } from '../services/health.js';
import type { ServiceNames } from '../services/service-names.js';
import type { NodeParts } from './parts.js';
import type { RouteSource } from './route-source.js';

export interface Wiring {
  readonly parts: NodeParts;
  /** Conditions of readiness. */
  readonly board: ConditionBoard;
  /** What could not be used of the input. */
  readonly sync: SyncReports;
  /** Large segments pass between VPP and Linux: no uplink's driver stands against it. */
  readonly gso: boolean;
  readonly translations: TranslationOwners;
  readonly policed: PolicedInterfaces;
  readonly checksums: SoftwareChecksums;
  readonly networkAddresses: NetworkAddresses;
  readonly route_source: RouteSource;
  readonly healthPorts: HealthPorts;
  readonly cniCounts: CniCounts;
  readonly serviceNames: ServiceNames;
}
