// Package certificates approves the certificate requests that nodes make for themselves, where
// those who ask may, and deletes requests that have served their time.
//
// It must not sign: the authority's key is the server's.
package certificates
