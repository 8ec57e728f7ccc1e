package connect_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	apihttpstream "k8s.io/apimachinery/pkg/util/httpstream" //nolint:staticcheck // client-go's dialers are of this package's type, not of the one that replaces it
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	clientspdy "k8s.io/client-go/transport/spdy"
	clientexec "k8s.io/client-go/util/exec"
	criportforward "k8s.io/cri-streaming/pkg/streaming/portforward"
	cricommand "k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/streaming/pkg/httpstream"
	utilexec "k8s.io/utils/exec"
)

// executor answers a command with its arguments, its input in capitals, and a line of
// errors.
type executor struct{}

func (executor) ExecInContainer(ctx context.Context, name, _, container string, cmd []string, in io.Reader, out, errs io.WriteCloser, tty bool, sizes <-chan cricommand.TerminalSize, _ time.Duration) error {
	fmt.Fprintf(out, "%s/%s %v tty=%v\n", name, container, cmd, tty)
	if cmd[0] == "exit" {
		return utilexec.CodeExitError{Err: errors.New("it failed"), Code: 42}
	}
	if cmd[0] == "size" {
		s := <-sizes
		fmt.Fprintf(out, "%dx%d", s.Width, s.Height)
		return nil
	}
	if cmd[0] == "wait" {
		<-ctx.Done()
		return ctx.Err()
	}
	if in != nil {
		data, err := io.ReadAll(in) // ends when the client closes its half
		if err != nil {
			return err
		}
		fmt.Fprint(out, strings.ToUpper(string(data)))
	}
	if errs != nil {
		fmt.Fprint(errs, "oops")
	}
	return nil
}

func execAgent(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(r.URL.Path, "/") // /exec/NS/POD/CONTAINER
	opts, err := cricommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	cricommand.ServeExec(w, r, executor{}, parts[3], "", parts[4], r.URL.Query()["command"], opts, time.Minute, time.Minute, cricommand.SupportedStreamingProtocols)
}

// kubectl's exec works by SPDY and by WebSocket, with input that ends.
func TestExec(t *testing.T) {
	f := newFixture(t, execAgent)
	target, err := url.Parse(f.api.URL + "/api/v1/namespaces/ns/pods/one/exec?command=tr&command=a+b&stdin=true&stdout=true&stderr=true&container=main")
	if err != nil {
		t.Fatal(err)
	}
	cfg := &rest.Config{Host: f.api.URL}
	spdy, err := remotecommand.NewSPDYExecutor(cfg, "POST", target)
	if err != nil {
		t.Fatal(err)
	}
	ws, err := remotecommand.NewWebSocketExecutor(cfg, "GET", target.String())
	if err != nil {
		t.Fatal(err)
	}
	fallback, err := remotecommand.NewFallbackExecutor(ws, spdy, func(err error) bool { return httpstream.IsUpgradeFailure(err) })
	if err != nil {
		t.Fatal(err)
	}
	input := strings.Repeat("abcdefg\n", 20_000)
	for name, e := range map[string]remotecommand.Executor{"SPDY": spdy, "WebSocket": ws, "as kubectl": fallback} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			err := e.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdin: strings.NewReader(input), Stdout: &out, Stderr: &errs})
			if err != nil {
				t.Fatal(err)
			}
			if want := "one/main [tr a b] tty=false\n" + strings.ToUpper(input); out.String() != want {
				t.Errorf("output of %d bytes, want %d: %.80q", out.Len(), len(want), out.String())
			}
			if errs.String() != "oops" {
				t.Errorf("errors %q", errs.String())
			}
		})
	}
	t.Run("pod without a node", func(t *testing.T) {
		target, err := url.Parse(f.api.URL + "/api/v1/namespaces/ns/pods/pending/exec?command=ls&stdout=true")
		if err != nil {
			t.Fatal(err)
		}
		e, err := remotecommand.NewSPDYExecutor(cfg, "POST", target)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdout: io.Discard}); err == nil || !strings.Contains(err.Error(), "pod pending does not have a host assigned") {
			t.Errorf("error %v", err)
		}
	})
}

type fixedSize struct{ size *remotecommand.TerminalSize }

func (f *fixedSize) Next() *remotecommand.TerminalSize {
	s := f.size
	f.size = nil
	return s
}

func TestExecOutcomes(t *testing.T) {
	f := newFixture(t, execAgent)
	start := func(t *testing.T, ctx context.Context, query string, opts remotecommand.StreamOptions) error {
		t.Helper()
		e, err := remotecommand.NewWebSocketExecutor(&rest.Config{Host: f.api.URL}, "GET", f.api.URL+"/api/v1/namespaces/ns/pods/one/exec?"+query)
		if err != nil {
			t.Fatal(err)
		}
		return e.StreamWithContext(ctx, opts)
	}
	t.Run("exit code", func(t *testing.T) {
		var out bytes.Buffer
		err := start(t, t.Context(), "command=exit&stdout=true", remotecommand.StreamOptions{Stdout: &out})
		var exit clientexec.CodeExitError
		if !errors.As(err, &exit) || exit.Code != 42 || !strings.HasPrefix(out.String(), "one/main [exit]") {
			t.Errorf("%v %q", err, out.String())
		}
	})
	t.Run("terminal size", func(t *testing.T) {
		var out bytes.Buffer
		err := start(t, t.Context(), "command=size&stdout=true&stdin=true&tty=true", remotecommand.StreamOptions{
			Stdin: strings.NewReader(""), Stdout: &out, Tty: true, TerminalSizeQueue: &fixedSize{&remotecommand.TerminalSize{Width: 80, Height: 24}}})
		if err != nil || out.String() != "one/main [size] tty=true\n80x24" {
			t.Errorf("%v %q", err, out.String())
		}
	})
	t.Run("agent away", func(t *testing.T) {
		f := newFixture(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no such container", http.StatusNotFound) })
		e, err := remotecommand.NewWebSocketExecutor(&rest.Config{Host: f.api.URL}, "GET", f.api.URL+"/api/v1/namespaces/ns/pods/one/exec?command=ls&stdout=true")
		if err != nil {
			t.Fatal(err)
		}
		if err := e.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdout: io.Discard}); err == nil || !strings.Contains(err.Error(), "no such container") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("client gone", func(t *testing.T) {
		ended := make(chan struct{})
		f := newFixture(t, func(w http.ResponseWriter, r *http.Request) {
			execAgent(w, r)
			close(ended)
		})
		conn, resp, err := (&websocket.Dialer{Subprotocols: []string{"v5.channel.k8s.io"}}).DialContext(t.Context(),
			strings.Replace(f.api.URL, "http", "ws", 1)+"/api/v1/namespaces/ns/pods/one/exec?command=echo&stdin=true&stdout=true", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if _, data, err := conn.ReadMessage(); err != nil || len(data) < 1 {
			t.Fatal(data, err)
		}
		conn.Close()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Error("the agent still streams")
		}
	})
}

// echoPort answers on every port with what it gets, and the port.
type echoPort struct{}

func (echoPort) PortForward(_ context.Context, name, _ string, port int32, stream io.ReadWriteCloser) error {
	line, err := bufio.NewReader(stream).ReadString('\n')
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stream, "%s:%d %s", name, port, line)
	return err
}

// kubectl's port-forward works by SPDY and by SPDY through a WebSocket.
func TestPortForward(t *testing.T) {
	f := newFixture(t, func(w http.ResponseWriter, r *http.Request) {
		criportforward.ServePortForward(w, r, echoPort{}, strings.Split(r.URL.Path, "/")[3], "", &criportforward.V4Options{}, time.Minute, time.Minute, criportforward.SupportedProtocols)
	})
	target, err := url.Parse(f.api.URL + "/api/v1/namespaces/ns/pods/one/portforward")
	if err != nil {
		t.Fatal(err)
	}
	cfg := &rest.Config{Host: f.api.URL}
	transport, upgrader, err := clientspdy.RoundTripperFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	tunnel, err := portforward.NewSPDYOverWebsocketDialer(target, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for name, dialer := range map[string]apihttpstream.Dialer{
		"SPDY": clientspdy.NewDialer(upgrader, &http.Client{Transport: transport}, "POST", target), "WebSocket": tunnel,
	} {
		t.Run(name, func(t *testing.T) {
			stop, ready := make(chan struct{}), make(chan struct{})
			fw, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{"0:8080"}, stop, ready, io.Discard, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- fw.ForwardPorts() }()
			select {
			case <-ready:
			case err := <-done:
				t.Fatal(err)
			}
			ports, err := fw.GetPorts()
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ports[0].Local))
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintln(conn, "hello")
				answer, err := io.ReadAll(conn)
				if err != nil || string(answer) != "one:8080 hello\n" {
					t.Errorf("%q %v", answer, err)
				}
				conn.Close()
			}
			close(stop)
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}
