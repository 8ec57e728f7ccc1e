package pki

import (
	"bytes"
	"fmt"
	"os"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// WriteKubeconfig writes a kubeconfig at path with which the holder of p reaches the
// server at url ("https://127.0.0.1:6443"); certificates are embedded, so the file can be
// copied elsewhere. cluster names the cluster and user the user in it. The file is left
// alone where it already says the same.
func (a *Authority) WriteKubeconfig(path, url, cluster, user string, p Pair) error {
	cfg := clientcmdapi.NewConfig()
	cfg.Clusters[cluster] = &clientcmdapi.Cluster{Server: url, CertificateAuthorityData: a.ca.CertPEM}
	cfg.AuthInfos[user] = &clientcmdapi.AuthInfo{ClientCertificateData: p.CertPEM, ClientKeyData: p.KeyPEM}
	name := user + "@" + cluster
	cfg.Contexts[name] = &clientcmdapi.Context{Cluster: cluster, AuthInfo: user}
	cfg.CurrentContext = name
	data, err := clientcmd.Write(*cfg)
	if err != nil {
		return fmt.Errorf("kubeconfig %s: %w", path, err)
	}
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return nil
	}
	if err := WriteFile(path, data); err != nil {
		return fmt.Errorf("kubeconfig: %w", err)
	}
	return nil
}
