// Package bootstrap has the first roles and bindings of a cluster as data (roles.yaml,
// controllers.yaml) and makes sure that a cluster has them. Names and permissions are
// upstream's, so that what people know and what they install finds them.
//
// It must not know how decisions are made: it writes objects as any client does.
package bootstrap
