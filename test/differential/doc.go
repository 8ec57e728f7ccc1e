// Package differential holds the protocol to upstream's: what is answered to requests as
// such, whatever the kind of object is. Each file testdata/TOPIC.yaml lists raw requests,
// which are sent one after the other, and testdata/TOPIC.expected.yaml has what a
// kube-apiserver answered: status code, headers, and body. Values that no two servers have
// in common (revisions, times, identifiers) are replaced by words before they are compared.
//
// testdata/differences.yaml lists the requests that are answered in another way, why, and
// with which status code. One that is answered as upstream does must leave the list.
//
// `go test ./test/differential -args -record KUBECONFIG` writes the expected answers anew.
// It makes namespaces of its own there and removes them.
//
// It must know nothing of how a request is served.
package differential
