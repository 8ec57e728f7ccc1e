// Package front serves core/store over the part of etcd's gRPC API that a benchmark uses
// (Range, Put, Watch, Status, MemberAdd), so that etcd's own Go client drives both sides
// and both pay for the same messages. It is for measuring: Pintle itself serves the
// Kubernetes API, and what is not measured here answers Unimplemented.
//
// It must not know the measuring, and reaches the store by its public API only.
package front
