// Package remote is the host's end of the contract: it makes a connection to a plugin
// process look like the SDK's own interfaces, so that whoever calls a plugin need not
// know where it runs.
//
// It must not know how the connection came to be: that is the host's, or a test's, affair.
package remote
