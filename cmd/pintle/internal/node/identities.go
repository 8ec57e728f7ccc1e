package node

import (
	"fmt"
	"net/http"
	"time"

	"k8s.io/client-go/rest"

	"github.com/pintle-dev/pintle/core/auth/pki"
	"github.com/pintle-dev/pintle/core/host"
	"github.com/pintle-dev/pintle/runtime/apisocket"
)

// tlsTimeout bounds a handshake with a server.
const tlsTimeout = 10 * time.Second

// identities is how the node's plugins reach the API, each as itself.
type identities struct {
	authority *pki.Authority
	api       *access
	socket    *apisocket.Socket
}

// of makes a client certificate for one life of a plugin. A guest does not get to see it: it has
// no network, and the node's socket speaks for it.
func (i *identities) of(plugin string, guest bool) (host.Connection, func(), error) {
	id := host.Identity(plugin)
	pair, err := i.authority.Client("plugin-"+plugin, id.Name, id.Groups...)
	if err != nil {
		return host.Connection{}, nil, err
	}
	if !guest {
		return host.Connection{Server: i.api.url, CA: i.authority.CAPEM(), Cert: pair.CertPEM, Key: pair.KeyPEM}, func() {}, nil
	}
	conf := restConfig(i.api.url, i.authority, pair)
	i.api.apply(conf)
	secure, err := rest.TLSConfigFor(conf)
	if err != nil {
		return host.Connection{}, nil, fmt.Errorf("plugin %s: client: %w", plugin, err)
	}
	// Not one of client-go's: those are kept for as long as the process lives.
	token, leave := i.socket.Admit(&http.Transport{
		TLSClientConfig: secure, DialContext: conf.Dial, ForceAttemptHTTP2: true, DisableCompression: true, TLSHandshakeTimeout: tlsTimeout,
	})
	return host.Connection{Socket: i.socket.Path(), Token: token}, leave, nil
}
