// The protocol core as a library: no sockets, no clock, no configuration file.

export { createKeyExchanges } from './crypto/node-key-exchange.ts';
export { createNodeProvider } from './crypto/node-provider.ts';
export type { Provider } from './crypto/provider.ts';
export type * from './ike/boundary.ts';
export { REPORTS, type ReportCode } from './ike/errors.ts';
export { createGateway, type Gateway, type GatewayOptions } from './ike/gateway.ts';
export type { IkeSa } from './ike/sa.ts';
export type { ChildView, TunnelView } from './ike/view.ts';
export type * from './policy/sad.ts';
export type * from './policy/tunnel.ts';
