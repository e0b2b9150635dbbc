// The protocol core as a library: no sockets, no clock, no configuration file.

export { createKeyExchanges, createNodeProvider } from './crypto/node-provider.ts';
export type { Provider } from './crypto/provider.ts';
export type * from './ike/boundary.ts';
export { REPORTS, type ReportCode } from './ike/errors.ts';
export {
  type ChildView,
  createGateway,
  type Gateway,
  type GatewayOptions,
  type TunnelView,
} from './ike/gateway.ts';
export type * from './policy/sad.ts';
export type * from './policy/tunnel.ts';
