// Package endpoints says where the pods behind a Service are: in EndpointSlices, and in
// the older Endpoints that some clients still read. Services without a selector are left
// to whoever made them.
package endpoints
