// Package pki keeps the cluster's certificate authority and the certificates it signs:
// the API server's own, the administrator's, and the node agents'. All are ECDSA P-256,
// live as PEM files in one directory, are made on first use and reused afterwards.
//
// It knows names, groups and files. It must not know who may do what, nor how a request
// is served.
package pki
