// Package clients holds Pintle to what upstream's clients expect, against a real server
// process without a node.
//
// What kubectl prints is compared with what it prints against kube-apiserver: the sessions
// in testdata/kubectl are command lines, separated by empty lines, and beside each stands
// what every version of kubectl answered there. To take the answers anew, give the
// kubeconfig of a kube-apiserver of upstream's with its controllers (all but
// node-lifecycle) and scheduler:
//
//	go test ./test/clients -run Kubectl -timeout 30m -args -all -peer KUBECONFIG
//
// It must not know anything of Pintle but its command line and its API.
package clients
