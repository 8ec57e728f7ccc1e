package connect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gorilla/websocket"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

const (
	// tunnelPrefix marks WebSocket protocols in which frames of SPDY are the messages.
	tunnelPrefix = "SPDY/3.1+"
	spdyUpgrade  = "SPDY/3.1"
	// streamProtocol names the protocol within SPDY.
	streamProtocol = "X-Stream-Protocol-Version"
)

// tunnelled reports whether a client speaks SPDY through a WebSocket, as clients forward
// ports where a proxy on the way lets nothing else through. Agents speak plain SPDY.
func tunnelled(r *http.Request) bool { return wsstream.IsWebSocketRequestWithTunnelingProtocol(r) }

// tunnel joins a client's WebSocket with an agent's SPDY connection.
func (h *Handler) tunnel(w http.ResponseWriter, r *http.Request, a agent, target *url.URL, c Request) error {
	ctx, cancel := context.WithCancel(context.WithValue(r.Context(), nodeKey{}, a.node))
	defer cancel()
	up, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), nil)
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	up.Header.Set("Connection", "Upgrade")
	up.Header.Set("Upgrade", spdyUpgrade)
	up.Header[streamProtocol] = tunnelProtocols(r)
	resp, err := h.agents.RoundTrip(up)
	if err != nil {
		return apierrors.NewInternalError(fmt.Errorf("error dialing backend: %w", err))
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return agentError(c.Resource+"/"+c.Subresource, c.Name)(resp) //nolint:bodyclose // agentError closes it
	}
	agentConn, ok := resp.Body.(io.ReadWriteCloser)
	if !ok {
		_ = resp.Body.Close() // nothing was said in it
		return apierrors.NewInternalError(errors.New("the node agent's connection can't be written to"))
	}
	defer func() { _ = agentConn.Close() }() // both directions have ended
	upgrader := websocket.Upgrader{
		Subprotocols: []string{tunnelPrefix + resp.Header.Get(streamProtocol)},
		// Requests have been authorized by credentials that browsers do not send by
		// themselves.
		CheckOrigin: func(*http.Request) bool { return true },
	}
	ws, err := upgrader.Upgrade(hijackable{w}, r, nil)
	if err != nil {
		return nil // the upgrader has answered
	}
	client := portforward.NewTunnelingConnection("client", ws)
	defer func() { _ = client.Close() }() // as above
	ended := make(chan struct{}, 2)
	go func() {
		_, _ = io.Copy(agentConn, client) // however it ends, it has ended
		ended <- struct{}{}
	}()
	go func() {
		_, _ = io.Copy(client, agentConn) // as above
		ended <- struct{}{}
	}()
	// SPDY says goodbye within its frames: where one side has closed, nothing follows.
	<-ended
	return nil
}

// tunnelProtocols are the protocols within SPDY that a client offers.
func tunnelProtocols(r *http.Request) []string {
	var out []string
	for _, line := range r.Header.Values("Sec-Websocket-Protocol") {
		for p := range strings.SplitSeq(line, ",") {
			if name, ok := strings.CutPrefix(strings.TrimSpace(p), tunnelPrefix); ok && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
}
