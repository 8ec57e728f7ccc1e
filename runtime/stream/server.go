package stream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/pintle-dev/pintle/runtime/logs"
	driver "github.com/pintle-dev/pintle/sdk/runtimedriver"
)

// idle is how long a stream on which nothing happens is kept.
const idle = 4 * time.Hour

// Container is a container to read or to join.
type Container struct {
	ID      string
	LogPath string
	TTY     bool
	Stdin   bool
	// Ended is closed when its output is complete.
	Ended <-chan struct{}
}

// Backend finds what requests are about. Its errors are shown to people; one made with
// Errorf chooses the status code.
type Backend interface {
	Pods() []*corev1.Pod
	// Container finds a container of a pod for its logs: the newest attempt, or the one
	// before. uid may be empty.
	Container(ctx context.Context, namespace, pod, uid, container string, previous bool) (Container, error)
	// Running finds a container that runs.
	Running(ctx context.Context, namespace, pod, uid, container string) (Container, error)
	// Sandbox finds the sandbox of a pod.
	Sandbox(ctx context.Context, namespace, pod, uid string) (string, error)
	// Stats measures the node and its pods.
	Stats(ctx context.Context) (*statsapi.Summary, error)
}

// Error has the status code of an answer.
type Error struct {
	Code int
	Msg  string
}

func (e *Error) Error() string { return e.Msg }

// Errorf makes an Error.
func Errorf(code int, format string, args ...any) error {
	return &Error{Code: code, Msg: fmt.Sprintf(format, args...)}
}

// Config of a Server.
type Config struct {
	Backend Backend
	Streams driver.Streams
	// Cert is shown to clients; clients must show one that CA signed.
	Cert *tls.Certificate
	CA   *x509.CertPool
	// Allow says whether the owner of a certificate may use the API.
	Allow func(*x509.Certificate) bool
	// Metrics are served at /metrics; may be nil.
	Metrics prometheus.Gatherer
	// Plugins answers below /plugins/; may be nil.
	Plugins http.Handler
	Log     *slog.Logger
}

// Server serves the kubelet's API.
type Server struct {
	cfg  Config
	mux  *http.ServeMux
	http *http.Server
}

// New makes a Server.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg, mux: http.NewServeMux()}
	s.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	s.mux.HandleFunc("GET /pods", s.pods)
	s.mux.HandleFunc("GET /stats/summary", s.stats)
	s.mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", s.logs)
	for _, m := range []string{"GET", "POST"} {
		for _, uid := range []string{"", "{uid}/"} {
			s.mux.HandleFunc(m+" /exec/{namespace}/{pod}/"+uid+"{container}", s.exec)
			s.mux.HandleFunc(m+" /attach/{namespace}/{pod}/"+uid+"{container}", s.attach)
		}
		s.mux.HandleFunc(m+" /portForward/{namespace}/{pod}", s.portForward)
		s.mux.HandleFunc(m+" /portForward/{namespace}/{pod}/{uid}", s.portForward)
	}
	if cfg.Plugins != nil {
		s.mux.Handle("GET /plugins/", cfg.Plugins)
	}
	if cfg.Metrics != nil {
		s.mux.Handle("GET /metrics", promhttp.HandlerFor(cfg.Metrics, promhttp.HandlerOpts{}))
	}
	return s
}

// ServeHTTP lets in who may come in.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || len(r.TLS.PeerCertificates) == 0 {
		http.Error(w, "Unauthorized: a client certificate is required", http.StatusUnauthorized)
		return
	}
	if cert := r.TLS.PeerCertificates[0]; s.cfg.Allow != nil && !s.cfg.Allow(cert) {
		http.Error(w, fmt.Sprintf("Forbidden (user=%s, verb=%s, path=%s)", cert.Subject.CommonName, r.Method, r.URL.Path), http.StatusForbidden)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// Serve serves until the context ends.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	s.http = &http.Server{
		Handler: s, ReadHeaderTimeout: 30 * time.Second,
		ErrorLog: slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: s.cfg.CA,
			Certificates: []tls.Certificate{*s.cfg.Cert},
		},
	}
	stop := context.AfterFunc(ctx, func() { _ = s.http.Close() })
	defer stop()
	err := s.http.ServeTLS(l, "", "")
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func fail(w http.ResponseWriter, err error) {
	var e *Error
	if errors.As(err, &e) {
		http.Error(w, e.Msg, e.Code)
		return
	}
	if errors.Is(err, driver.ErrNotFound) {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	http.Error(w, err.Error(), http.StatusInternalServerError)
}

func (s *Server) pods(w http.ResponseWriter, _ *http.Request) {
	list := corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}, Items: []corev1.Pod{}}
	for _, p := range s.cfg.Backend.Pods() {
		list.Items = append(list.Items, *p)
	}
	writeJSON(w, list)
}

func (s *Server) stats(w http.ResponseWriter, r *http.Request) {
	sum, err := s.cfg.Backend.Stats(r.Context())
	if err != nil {
		fail(w, err)
		return
	}
	writeJSON(w, sum)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client may have gone
}

// logOptions reads the query of a log request.
func logOptions(r *http.Request) (o logs.Options, previous bool, err error) {
	q := r.URL.Query()
	flag := func(name string) bool {
		b, perr := strconv.ParseBool(q.Get(name))
		if q.Get(name) != "" && perr != nil && err == nil {
			err = Errorf(http.StatusBadRequest, "%s: %q is neither true nor false", name, q.Get(name))
		}
		return b
	}
	number := func(name string) *int64 {
		v := q.Get(name)
		if v == "" {
			return nil
		}
		n, perr := strconv.ParseInt(v, 10, 64)
		if (perr != nil || n < 0) && err == nil {
			err = Errorf(http.StatusBadRequest, "%s: %q is not a number of 0 or more", name, v)
		}
		return &n
	}
	o.Follow, o.Timestamps, previous = flag("follow"), flag("timestamps"), flag("previous")
	o.Tail, o.LimitBytes = number("tailLines"), number("limitBytes")
	if n := number("sinceSeconds"); n != nil {
		o.Since = time.Now().Add(-time.Duration(*n) * time.Second)
	}
	if v := q.Get("sinceTime"); v != "" {
		t, perr := time.Parse(time.RFC3339, v)
		if perr != nil && err == nil {
			err = Errorf(http.StatusBadRequest, "sinceTime: %q is no RFC 3339 time", v)
		}
		o.Since = t
	}
	switch v := q.Get("stream"); v {
	case "", "All":
	case "Stdout":
		o.Stream = logs.Stdout
	case "Stderr":
		o.Stream = logs.Stderr
	default:
		if err == nil {
			err = Errorf(http.StatusBadRequest, "stream: %q is none of All, Stdout, Stderr", v)
		}
	}
	return o, previous, err
}

func (s *Server) logs(w http.ResponseWriter, r *http.Request) {
	o, previous, err := logOptions(r)
	if err != nil {
		fail(w, err)
		return
	}
	c, err := s.cfg.Backend.Container(r.Context(), r.PathValue("namespace"), r.PathValue("pod"), "", r.PathValue("container"), previous)
	if err != nil {
		fail(w, err)
		return
	}
	if previous {
		o.Follow = false
	}
	w.Header().Set("Content-Type", "text/plain")
	out := &flusher{w: w, rc: http.NewResponseController(w)}
	if o.Follow {
		out.Flush() // the client learns at once that it is connected
	} else {
		out.rc = nil
	}
	if err := logs.Read(r.Context(), c.LogPath, o, c.Ended, out, out); err != nil {
		if r.Context().Err() != nil {
			return
		}
		if !out.wrote {
			fail(w, err)
			return
		}
		s.cfg.Log.Debug("reading a log broke off", "path", c.LogPath, "err", err)
	}
}

// flusher sends every line on its way.
type flusher struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	wrote bool
}

func (f *flusher) Write(p []byte) (int, error) {
	f.wrote = true
	n, err := f.w.Write(p)
	if err == nil && f.rc != nil {
		err = f.rc.Flush()
	}
	return n, err
}

func (f *flusher) Flush() { _ = f.rc.Flush() }

func (s *Server) exec(w http.ResponseWriter, r *http.Request) {
	c, opts, ok := s.join(w, r)
	if !ok {
		return
	}
	cmd := r.URL.Query()["command"]
	if len(cmd) == 0 {
		fail(w, Errorf(http.StatusBadRequest, "you must specify at least one command for the container"))
		return
	}
	remotecommand.ServeExec(w, r, execer{s.cfg.Streams}, "", "", c.ID, cmd, opts, idle, remotecommand.DefaultStreamCreationTimeout, protocols())
}

func (s *Server) attach(w http.ResponseWriter, r *http.Request) {
	c, opts, ok := s.join(w, r)
	if !ok {
		return
	}
	remotecommand.ServeAttach(w, r, execer{s.cfg.Streams}, "", "", c.ID, opts, idle, remotecommand.DefaultStreamCreationTimeout, protocols())
}

// protocols of exec and attach over SPDY; WebSocket's are the library's.
func protocols() []string { return slices.Clone(remotecommand.SupportedStreamingProtocols) }

func (s *Server) join(w http.ResponseWriter, r *http.Request) (Container, *remotecommand.Options, bool) {
	opts, err := remotecommand.NewOptions(r)
	if err != nil {
		fail(w, Errorf(http.StatusBadRequest, "%v", err))
		return Container{}, nil, false
	}
	c, err := s.cfg.Backend.Running(r.Context(), r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("uid"), r.PathValue("container"))
	if err != nil {
		fail(w, err)
		return Container{}, nil, false
	}
	return c, opts, true
}

func (s *Server) portForward(w http.ResponseWriter, r *http.Request) {
	opts, err := portforward.NewV4Options(r)
	if err != nil {
		fail(w, Errorf(http.StatusBadRequest, "%v", err))
		return
	}
	id, err := s.cfg.Backend.Sandbox(r.Context(), r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("uid"))
	if err != nil {
		fail(w, err)
		return
	}
	portforward.ServePortForward(w, r, execer{s.cfg.Streams}, id, "", opts, idle, remotecommand.DefaultStreamCreationTimeout, portforward.SupportedProtocols)
}

// execer fits driver.Streams to the library. The container's or sandbox's id stands in
// the place of its name.
type execer struct{ driver.Streams }

var (
	_ remotecommand.Executor    = execer{}
	_ remotecommand.Attacher    = execer{}
	_ portforward.PortForwarder = execer{}
)

func stdio(in io.Reader, out, errw io.WriteCloser, tty bool, sizes <-chan remotecommand.TerminalSize) (driver.Stdio, func()) {
	s := driver.Stdio{In: in, TTY: tty}
	if out != nil {
		s.Out = out
	}
	if errw != nil {
		s.Err = errw
	}
	if sizes == nil {
		return s, func() {}
	}
	resize, done := make(chan driver.TerminalSize), make(chan struct{})
	s.Resize = resize
	go func() {
		defer close(resize)
		for {
			select {
			case z, ok := <-sizes:
				if !ok {
					return
				}
				select {
				case resize <- driver.TerminalSize{Width: z.Width, Height: z.Height}:
				case <-done:
					return
				}
			case <-done:
				return
			}
		}
	}()
	return s, func() { close(done) }
}

// exitError tells the library how a command ended.
type exitError struct{ code int }

func (e exitError) Error() string   { return strconv.Itoa(e.code) }
func (e exitError) String() string  { return e.Error() }
func (e exitError) Exited() bool    { return true }
func (e exitError) ExitStatus() int { return e.code }

// ExecInContainer implements remotecommand.Executor.
func (e execer) ExecInContainer(ctx context.Context, _, _, id string, cmd []string, in io.Reader, out, errw io.WriteCloser, tty bool, sizes <-chan remotecommand.TerminalSize, limit time.Duration) error {
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	io, done := stdio(in, out, errw, tty, sizes)
	defer done()
	code, err := e.Exec(ctx, id, cmd, io)
	if err == nil && code != 0 {
		return exitError{code}
	}
	return err
}

// AttachContainer implements remotecommand.Attacher.
func (e execer) AttachContainer(ctx context.Context, _, _, id string, in io.Reader, out, errw io.WriteCloser, tty bool, sizes <-chan remotecommand.TerminalSize) error {
	io, done := stdio(in, out, errw, tty, sizes)
	defer done()
	return e.Attach(ctx, id, io)
}

// PortForward implements portforward.PortForwarder.
func (e execer) PortForward(ctx context.Context, id, _ string, port int32, stream io.ReadWriteCloser) error {
	f, ok := e.Streams.(driver.PortForwarder)
	if !ok {
		_ = stream.Close()
		return fmt.Errorf("the node's container runtime forwards no ports: %w", errors.ErrUnsupported)
	}
	return f.PortForward(ctx, id, port, stream)
}
