// Package signing signs approved CertificateSigningRequests for the signers that belong to
// every cluster: kubernetes.io/kube-apiserver-client, kubernetes.io/kube-apiserver-client-kubelet
// and kubernetes.io/kubelet-serving. It stands beside the authority, whose key never leaves
// the server.
//
// It must not approve requests; whoever approves one has the permission to.
package signing
