package host

import (
	"context"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pintle-dev/pintle/sdk/protocol"
)

// meter counts the calls to one plugin's process, each stream of calls by its answers.
type meter struct {
	metrics *metrics
	plugin  string

	calls, errors atomic.Int64
	mu            sync.Mutex
	streams       map[*meteredStream]bool // those that are open
	large         atomic.Bool             // a message was too large
	// past is the CPU time of processes that have ended.
	past atomic.Int64
}

// done records one call.
func (m *meter) done(method string, took time.Duration, failed bool) {
	m.calls.Add(1)
	if failed {
		m.errors.Add(1)
	}
	m.metrics.observe(m.plugin, method, took, failed)
}

// options make a connection count.
func (m *meter) options() []grpc.DialOption {
	return []grpc.DialOption{grpc.WithChainUnaryInterceptor(m.unary), grpc.WithChainStreamInterceptor(m.stream)}
}

// shortMethod makes "Network/Attach" of "/pintle.plugin.v1.Network/Attach"; what is not the
// contract's, such as health checks, does not count.
func shortMethod(full string) (string, bool) {
	const ours = "/pintle.plugin.v1."
	return strings.CutPrefix(full, ours)
}

func (m *meter) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	name, ours := shortMethod(method)
	if !ours {
		return invoke(ctx, method, req, reply, cc, opts...)
	}
	began := time.Now()
	err := invoke(ctx, method, req, reply, cc, opts...)
	m.done(name, time.Since(began), err != nil)
	if m.refused(err) {
		return status.Error(codes.ResourceExhausted, tooLarge+" to "+name)
	}
	return err
}

// tooLarge says why a message was not taken.
var tooLarge = fmt.Sprintf("it sent a message of more than the %s that one may have", mebibytes(protocol.MaxMessageBytes))

// refused notes that a message was not taken for its size, which ends its stream.
func (m *meter) refused(err error) bool {
	if err == nil || status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "larger than max") {
		return false
	}
	m.large.Store(true)
	return true
}

// why adds to an error about the end of a stream what is known of its cause.
func (m *meter) why(err error) error {
	if m.large.Swap(false) {
		return fmt.Errorf("%w: %s", err, tooLarge)
	}
	return err
}

func (m *meter) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := streamer(ctx, desc, cc, method, opts...)
	name, ours := shortMethod(method)
	if err != nil || !ours || !desc.ClientStreams || !desc.ServerStreams {
		return s, err
	}
	return m.open(s, name), nil
}

// usage is what a plugin's process takes: from its group where it has one, else from the
// process alone, without the pages that it shares with its host.
// The CPU time is that of all its processes since the host started.
func (s *supervisor) usage() (memory int64, cpu time.Duration) {
	past := time.Duration(s.meter.past.Load())
	i := s.serving.Load()
	pid := s.snapshot().PID
	if i == nil || pid == 0 {
		return 0, past
	}
	if cell := i.where(); cell != nil {
		if u, ok := cell.Usage(); ok {
			return u.MemoryBytes, past + u.CPU
		}
	}
	memory, cpu = processUsage(pid)
	return memory, past + cpu
}

// ticksPerSecond of the times in /proc: a constant of Linux's interface to programs.
const ticksPerSecond = 100

func processUsage(pid int) (memory int64, cpu time.Duration) {
	dir := "/proc/" + strconv.Itoa(pid)
	if b, err := os.ReadFile(dir + "/status"); err == nil {
		for line := range strings.Lines(string(b)) {
			if v, ok := strings.CutPrefix(line, "RssAnon:"); ok {
				kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
				memory = kib << 10
			}
		}
	}
	if b, err := os.ReadFile(dir + "/stat"); err == nil {
		_, after, _ := strings.Cut(string(b), ") ")
		if f := strings.Fields(after); len(f) > 12 { // state is the first of them, utime and stime 12th and 13th
			user, _ := strconv.ParseInt(f[11], 10, 64)
			system, _ := strconv.ParseInt(f[12], 10, 64)
			cpu = time.Duration(user+system) * (time.Second / ticksPerSecond)
		}
	}
	return memory, cpu
}

// Times at which figures are looked at, and at which they are published at most where nothing
// but them has changed: an object of the cluster is no time series.
const (
	meterInterval   = 5 * time.Second
	publishInterval = time.Minute
	// noticeable change of memory, as a share, and never less than leastChange bytes.
	noticeable  = 0.25
	leastChange = 4 << 20
)

// keepFigures keeps the figures in the statuses of all plugins.
func (h *Host) keepFigures(ctx context.Context) {
	tick := time.NewTicker(meterInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		h.mu.Lock()
		plugins := h.sorted()
		h.mu.Unlock()
		for _, s := range plugins {
			s.figures()
			s.lookForTrouble()
		}
	}
}

func (s *supervisor) figures() {
	memory, cpu := s.usage()
	calls, errs := s.meter.calls.Load(), s.meter.errors.Load()
	st := s.snapshot()
	grown := math.Abs(float64(memory - st.MemoryBytes))
	switch {
	case grown > max(leastChange, noticeable*float64(st.MemoryBytes)):
	case (calls != st.Calls || errs != st.Errors) && now().Sub(s.figuresAt) >= publishInterval:
	default:
		return
	}
	s.figuresAt = now()
	s.update(func(st *Status) {
		st.Calls, st.Errors, st.MemoryBytes, st.CPUSeconds = calls, errs, memory, cpu.Seconds()
	})
}
