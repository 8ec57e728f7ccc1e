// Package endpointslicemirroring mirrors Endpoints that users make for Services without a
// selector into EndpointSlices, which is where consumers look for endpoints.
//
// It must not touch slices that it has not made.
package endpointslicemirroring
