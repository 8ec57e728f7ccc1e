package connect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/httpstream/spdy" //nolint:staticcheck // client-go's executors take this package's type, not the one that replaces it
	remotecommandconsts "k8s.io/apimachinery/pkg/util/remotecommand"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

// translatable reports whether a client speaks version 5 over WebSocket, in which a stream
// can be closed by itself. Agents speak SPDY and the older versions only.
func translatable(r *http.Request) bool { return wsstream.IsWebSocketRequestWithStreamCloseProtocol(r) }

// The numbers of the channels of a WebSocket.
const (
	stdinChannel = iota
	stdoutChannel
	stderrChannel
	statusChannel
	resizeChannel
)

// idleTimeout of streams on which nothing happens; upstream's.
const idleTimeout = 4 * time.Hour

// translate serves exec and attach over WebSocket, version 5, by SPDY to the agent.
func (h *Handler) translate(w http.ResponseWriter, r *http.Request, a agent, target *url.URL) error {
	query := target.Query()
	on := func(name string) bool { return query.Get(name) == "1" }
	channel := func(on bool, t wsstream.ChannelType) wsstream.ChannelType {
		if on {
			return t
		}
		return wsstream.IgnoreChannel
	}
	stdin, stdout, tty := on("input"), on("output"), on("tty")
	stderr := on("error") && !tty // a terminal has one output
	conn := wsstream.NewConn(map[string]wsstream.ChannelProtocolConfig{
		remotecommandconsts.StreamProtocolV5Name: {Binary: true, Channels: []wsstream.ChannelType{
			stdinChannel:  channel(stdin, wsstream.ReadChannel),
			stdoutChannel: channel(stdout, wsstream.WriteChannel),
			stderrChannel: channel(stderr, wsstream.WriteChannel),
			statusChannel: wsstream.WriteChannel,
			resizeChannel: wsstream.ReadChannel,
		}},
	})
	conn.SetIdleTimeout(idleTimeout)
	_, streams, err := conn.Open(hijackable{w}, r)
	if err != nil {
		return nil // the WebSocket server has answered
	}
	defer func() { _ = conn.Close() }() // what was to be said has been said
	status := h.run(r, a, target, streams, remotecommand.StreamOptions{Tty: tty,
		Stdin: reader(stdin, streams[stdinChannel]), Stdout: writer(stdout, streams[stdoutChannel]), Stderr: writer(stderr, streams[stderrChannel])})
	body, err := json.Marshal(status)
	if err != nil {
		h.log.Error("encode the status of a stream", "error", err)
		return nil
	}
	_, _ = streams[statusChannel].Write(body) // the client has gone; there is nobody to tell
	return nil
}

// run streams to the agent until the command ends and returns what the client is told.
func (h *Handler) run(r *http.Request, a agent, target *url.URL, streams []io.ReadWriteCloser, opts remotecommand.StreamOptions) *metav1.Status {
	transport, err := spdy.NewRoundTripper(agentTLS(h.tls, a.node, a.host))
	if err == nil {
		var executor remotecommand.Executor
		if executor, err = remotecommand.NewSPDYExecutorForTransports(transport, transport, http.MethodPost, target); err == nil {
			ctx, cancel := context.WithCancel(r.Context())
			defer cancel()
			sizes := make(sizes)
			if opts.Tty {
				opts.TerminalSizeQueue = sizes
			}
			go func() {
				// The server does not watch a connection that it has handed over; this
				// channel ends with it.
				defer cancel()
				sizes.read(ctx, streams[resizeChannel], opts.Tty)
			}()
			err = executor.StreamWithContext(ctx, opts)
		}
	}
	return outcome(err)
}

// outcome is the status of a command that has ended.
func outcome(err error) *metav1.Status {
	var exit exec.CodeExitError
	var carries apierrors.APIStatus
	switch {
	case err == nil:
		return &metav1.Status{Status: metav1.StatusSuccess}
	case errors.As(err, &exit):
		return &metav1.Status{
			Status: metav1.StatusFailure, Reason: remotecommandconsts.NonZeroExitCodeReason,
			Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: remotecommandconsts.ExitCodeCauseType, Message: fmt.Sprint(exit.Code)}}},
			Message: fmt.Sprintf("command terminated with non-zero exit code: %v", exit),
		}
	case errors.As(err, &carries):
		status := carries.Status()
		return &status
	}
	status := apierrors.NewInternalError(err).Status()
	return &status
}

func reader(on bool, s io.Reader) io.Reader {
	if on {
		return s
	}
	return nil
}

func writer(on bool, s io.Writer) io.Writer {
	if on {
		return s
	}
	return nil
}

// sizes of the client's terminal as they change.
type sizes chan remotecommand.TerminalSize

// Next implements remotecommand.TerminalSizeQueue.
func (s sizes) Next() *remotecommand.TerminalSize {
	size, ok := <-s
	if !ok {
		return nil
	}
	return &size
}

// read takes sizes from a channel of the WebSocket until it ends; without a terminal
// they are nobody's.
func (s sizes) read(ctx context.Context, from io.Reader, tty bool) {
	defer close(s)
	decoder := json.NewDecoder(from)
	for {
		var size remotecommand.TerminalSize
		if err := decoder.Decode(&size); err != nil {
			return
		}
		if !tty {
			continue
		}
		select {
		case s <- size:
		case <-ctx.Done():
			return
		}
	}
}
